"""What a bot's author is told when the bot dies."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bot_runner_worker.bots.diagnosis import clean_last_lines, hint_for
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import BotStatus
from bot_runner_worker.model.spec import BotRecord


def record(**state: Any) -> BotRecord:
    now = datetime.now(UTC)
    fixed = dict.fromkeys(("id", "name", "mode", "source", "image", "request_digest", "spec_digest"), "x")
    state = {"exit_code": 1, "status": BotStatus.CRASHED} | state
    return BotRecord(bot=BotKey("user", "bot"), started_at=now, expires_at=now, **fixed, **state)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ModuleNotFoundError: No module named 'aiogram.types'", "holds aiogram to requirements"),
        (
            "ImportError: cannot import name 'executor' from 'aiogram'",
            "installed aiogram has no executor",
        ),
        ("aiogram.exceptions.TelegramUnauthorizedError: Telegram server says - Unauthorized", "@BotFather"),
        ("aiogram.utils.token.TokenValidationError: Token is invalid!", "@BotFather"),
        ("TelegramConflictError: Conflict: terminated by other getUpdates request", "same token"),
        ("KeyError: 'BOT_TOKEN'", "BOT_TOKEN is not set"),
        ("python3: can't open file '/app/main.py': [Errno 2] No such file", "main.py is not there"),
        ("SyntaxError: invalid syntax", "not valid Python"),
        ("OSError: [Errno 27] File too large", "CONTAINER_DISK_LIMIT"),
        ("OSError: [Errno 28] No space left on device: '/tmp/x'", "is full"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "look up a host"),
    ],
)
def test_common_deaths_are_recognised(line: str, words: str) -> None:
    assert words in hint_for(record(), ["Traceback (most recent call last):", line])


def test_memory_is_told_by_the_flag_and_not_by_the_code() -> None:
    assert "memory" in hint_for(record(oom_killed=True, exit_code=0), [])
    assert hint_for(record(exit_code=137), []) == ""


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert hint_for(record(), ["ValueError: 42"]) == ""
    assert hint_for(record(exit_code=None), ["SyntaxError"]) == ""


def test_the_last_lines_hold_no_secret() -> None:
    dead = record(environment={"BOT_TOKEN": "123:secret", "PATH": "/usr/bin", "HOME": "/app/home"})
    text = "".join(f"line {number}\n" for number in range(30)) + "bad token 123:secret in /app/home\n"
    lines = clean_last_lines(dead, text)
    assert len(lines) == 20
    assert lines[-1] == "bad token *** in /app/home"
