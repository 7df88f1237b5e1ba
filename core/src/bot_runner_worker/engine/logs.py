"""Container logs: the Engine's multiplexed stream as lines with their times."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bot_runner_worker.engine.client import Engine

_HEADER = 8


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output.

    Args:
        time: RFC 3339 with nanoseconds, as the Engine wrote it.
        text: The line without its end.
        complete: False if the process has not ended the line yet.
    """

    time: str
    text: str
    complete: bool = True


async def read(
    engine: Engine, container: str, *, tail: int, since: str | None = None, max_bytes: int
) -> list[LogLine]:
    """Read the last lines of a container's output.

    Args:
        engine: The Engine.
        container: Id of the container.
        tail: Number of lines; at least 1 (the Engine takes anything else for "all").
        since: Unix time with nanoseconds (``1700000000.000000001``), or ``None``.
        max_bytes: Older lines are dropped so that about this much output is held.

    Returns:
        The lines, oldest first.
    """
    params = {"stdout": True, "stderr": True, "timestamps": True, "tail": max(1, tail), "since": since}
    lines: deque[LogLine] = deque()
    # A process that writes without line ends is logged in pieces of 16 KiB, each with a time of its own; the
    # two streams are told apart, or their pieces would run into each other.
    open_lines: dict[int, LogLine] = {}
    held = 0
    async with engine.request("GET", f"containers/{container}/logs", params=params) as response:
        async for stream, payload in _frames(response.content.iter_any()):
            held += len(payload)
            time, _, text = payload.decode(errors="replace").partition(" ")
            if begun := open_lines.pop(stream, None):
                time, text = begun.time, begun.text + text
            if text.endswith("\n"):
                lines.append(LogLine(time, text[:-1].removesuffix("\r")))
            else:
                open_lines[stream] = LogLine(time, text, complete=False)
            while held > max_bytes and lines:
                held -= len(lines.popleft().text.encode())
    return [*lines, *open_lines.values()]


async def _frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    # Docker API v1.41, "Attach to a container", stream format: 1 byte stream, 3 bytes zero, 4 bytes length.
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= _HEADER:
            size = int.from_bytes(buffer[4:_HEADER], "big")
            if len(buffer) < _HEADER + size:
                break
            yield buffer[0], bytes(buffer[_HEADER : _HEADER + size])
            del buffer[: _HEADER + size]
