"""Shortcuts for tests that follow bots on the real Engine: alice's bot, unless they say otherwise."""

import io
import tarfile
from typing import Any

from tests.conftest import RunnerUnderTest

from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.testing.waiting import until

BOT = {"user_id": "alice", "bot_id": "bot"}


def answer(outcome: Outcome) -> str:
    """A task's answer in one word."""
    return str(outcome.data.get("status") or outcome.data["error"]["code"])


async def status(runner: RunnerUnderTest, **bot: str) -> dict[str, Any]:
    """What ``check_status`` says."""
    return (await runner.task("check_status", **{**BOT, **bot})).data


async def status_after(runner: RunnerUnderTest, *statuses: str, **bot: str) -> dict[str, Any]:
    """What ``check_status`` says, as soon as the status is one of these."""
    found: dict[str, Any] = {}

    async def reached() -> bool:
        nonlocal found
        found = await status(runner, **bot)
        return found["exists"] and found["status"] in statuses

    await until(reached, 90, lambda: f"the bot is {' or '.join(statuses)}, and not {found}")
    return found


async def logs_with(runner: RunnerUnderTest, word: str, times: int = 1, **bot: str) -> dict[str, Any]:
    """The bot's log page, as soon as it holds a word so many times."""
    page: dict[str, Any] = {}

    async def said() -> bool:
        nonlocal page
        page = (await runner.task("get_logs", **{**BOT, **bot})).data
        return str(page.get("logs")).count(word) >= times

    await until(said, 60, lambda: f"{word!r} in the log {times} times: {page}")
    return page


async def inspect(runner: RunnerUnderTest, **bot: str) -> dict[str, Any]:
    """The Engine's own description of the bot's container."""
    container = (await status(runner, **bot))["container_id"]
    found: dict[str, Any] = await runner.engine.json("GET", f"containers/{container}/json")
    return found


async def nothing_left(runner: RunnerUnderTest) -> None:
    """Wait until nothing is left of what the test did."""
    left: list[str] = []

    async def gone() -> bool:
        nonlocal left
        left = await runner.leftovers()
        return not left

    await until(gone, 30, lambda: f"nothing is left, and not {left}")


def context_of(dockerfile: str, compression: str = "", **files: bytes) -> bytes:
    """A build context with a Dockerfile, and with files by their names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, content in {"Dockerfile": dockerfile.encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
