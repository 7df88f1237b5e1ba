"""Pages of a bot's output: bounded, of clean text, with positions to go on from."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from bot_runner_worker.bots.protocol import LogPage
from bot_runner_worker.engine.logs import LogLine
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.redaction import without_controls

_POSITION = re.compile(r"\d{1,11}\.\d{9}", re.ASCII)


def position_of(since: str | None) -> str | None:
    """The Engine's ``since`` for what a client passed.

    Args:
        since: A former ``next_since``, an RFC 3339 time, or ``None``.

    Raises:
        Rejected: ``INVALID_FIELD`` for anything else; the Engine would take it for "all".
    """
    if since is None or _POSITION.fullmatch(since):
        return since
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.year < 1971:
        raise Rejected(
            Code.INVALID_FIELD,
            "The field since is neither a next_since of an earlier answer nor an RFC 3339 time.",
            hint="Pass next_since back as it came, or a time such as 2026-01-31T12:00:00Z.",
            details={"field": "since"},
            stage="request",
        )
    return f"{int(moment.timestamp())}.{moment.microsecond * 1000:09d}"


def page_of(output: Sequence[LogLine], *, lines: int, since: str | None, max_bytes: int) -> LogPage:
    """The newest lines that fit, without control characters.

    Args:
        output: What was read, oldest first.
        lines: Most lines to show.
        since: What the client passed; given back if there is nothing new.
        max_bytes: Most UTF-8 bytes to show.
    """
    shown = list(output[-lines:])
    truncated = len(shown) < len(output)
    texts: list[str] = []
    size = 0
    for line in reversed(shown):
        text = without_controls(line.text)
        room, needs = max_bytes - size, len(text.encode()) + 1
        if needs > room:
            truncated = True
            if not texts:
                # Even one line may be too long: its end says more than nothing.
                texts.append(text.encode()[-room:].decode(errors="ignore"))
            break
        texts.append(text)
        size += needs
    next_since = _after(output[-1].time) if output else since
    return LogPage(
        text="".join(f"{text}\n" for text in reversed(texts)),
        truncated=truncated,
        next_since=next_since or f"{int(datetime.now(UTC).timestamp())}.000000000",
    )


def _after(time: str) -> str:
    head, _, fraction = time.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(head + "+00:00").timestamp())
    nanoseconds = int((fraction or "0").ljust(9, "0")[:9]) + 1
    return f"{seconds + nanoseconds // 1_000_000_000}.{nanoseconds % 1_000_000_000:09d}"
