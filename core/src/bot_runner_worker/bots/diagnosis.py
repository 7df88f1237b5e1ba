"""Hints for a bot's author, from the last lines of a bot that died."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from bot_runner_worker.model.spec import BotRecord, EndReason
from bot_runner_worker.redaction import Redactor

LAST_LINES = 20

# Set by images and by us: blanking their values out would make tracebacks unreadable.
_PUBLIC_VARIABLES = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|PYTHON\w*|PIP_\w+|UV_\w+|SSL_CERT_FILE|.*_CA_BUNDLE|GPG_KEY"
)

_TELEGRAM_REFUSES = (
    "Telegram refuses the token. Copy it again from @BotFather, and check its variable's name in env_vars."
)


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    hint: Callable[[re.Match[str]], str]


def _sign(pattern: str, hint: str | Callable[[re.Match[str]], str]) -> _Sign:
    return _Sign(re.compile(pattern), hint if callable(hint) else lambda _: hint)


_SIGNS = (
    _sign(
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        lambda found: f"Add the package that holds {found[1].split('.')[0]} to requirements.",
    ),
    _sign(
        r"ImportError: cannot import name '(\w+)' from '([\w.]+)'",
        lambda found: f"The installed {found[2].split('.')[0]} has no {found[1]}: pin another version.",
    ),
    _sign(
        r"(?:Conflict: )?terminated by other getUpdates request",
        "Another program polls with the same token. Stop it: one bot, one token, one place.",
    ),
    _sign(r"TokenValidationError|Token is invalid|InvalidToken", _TELEGRAM_REFUSES),
    _sign(r"Telegram server says - Unauthorized|\bUnauthorized\b", _TELEGRAM_REFUSES),
    _sign(
        r"KeyError: '(\w*(?:TOKEN|KEY|SECRET)\w*)'",
        lambda found: f"The variable {found[1]} is not set: add it to env_vars.",
    ),
    _sign(
        r"can't open file '[^']*?([\w.-]+)'",
        lambda found: f"The file {found[1]} is not there: check the entrypoint.",
    ),
    _sign(r"(SyntaxError|IndentationError)", "The code is not valid Python; the line is named in the log."),
    _sign(
        r"\[Errno 28\] No space left on device",
        "The bot's disk, or its /tmp in memory, is full: let it delete what it no longer needs.",
    ),
    _sign(
        r"\[Errno 27\] File too large|File size limit exceeded",
        "The bot wrote a file that is larger than all that it may write. The operator sets the limit with "
        "CONTAINER_DISK_LIMIT.",
    ),
    _sign(
        r"Temporary failure in name resolution|Name or service not known",
        "The bot cannot look up a host. If its name is right, tell the operator.",
    ),
)

_END_REASON_HINTS = {
    EndReason.DISK_LIMIT: "Let the bot delete the files that it no longer needs, and close those that it has "
    "deleted; start it again: its disk is empty then. The operator sets the limit with CONTAINER_DISK_LIMIT.",
    EndReason.LOG_FLOOD: "Print less: look for a loop that logs without a pause, and raise the log level. "
    "The operator sets the limit with CONTAINER_LOG_RATE_LIMIT.",
}


def clean_last_lines(record: BotRecord, text: str) -> list[str]:
    """A bot's last lines without the values of its environment."""
    values = (value for name, value in record.environment.items() if not _PUBLIC_VARIABLES.fullmatch(name))
    return Redactor(values).text(text).splitlines()[-LAST_LINES:]


def hint_for(record: BotRecord, last_lines: list[str]) -> str:
    """What to do about a bot that died; empty if there is nothing to say.

    Args:
        record: The bot.
        last_lines: Its output, oldest first.
    """
    if record.end_reason in _END_REASON_HINTS:
        return _END_REASON_HINTS[record.end_reason]
    if record.oom_killed:
        return "The bot ran out of memory: let it use less, or ask for more with resource_limits.memory_mb."
    if not record.exit_code:
        return ""
    for line in reversed(last_lines):
        for sign in _SIGNS:
            if found := sign.pattern.search(line):
                return sign.hint(found)
    if record.exit_code in (126, 127):
        return "The command cannot be run: check the entrypoint and that it is executable."
    return ""
