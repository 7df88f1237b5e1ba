"""API calls for the output and the logs of containers."""

import asyncio
import codecs
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from bot_runner_worker.engine.client import Engine

ENTRY_OVERHEAD = 72
"""Bytes that the Engine's log file takes for each line, or piece of one, besides its text (json-file)."""

_HEADER = 8


class LogLine(NamedTuple):
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
        max_bytes: Bytes to keep, about; older lines are dropped.

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
        async for frames in _frames(response.content.iter_any()):
            for stream, payload in frames:
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


@contextlib.asynccontextmanager
async def attached(engine: Engine, container: str) -> AsyncIterator[AsyncIterator[str]]:
    """Attach to a container that has not started; yields its output in pieces, to its end.

    Nothing of it need be in a log. A container that prints more than is read waits.

    Args:
        engine: The Engine.
        container: Name or id.
    """
    params = {"stream": True, "stdout": True, "stderr": True}
    async with engine.request("POST", f"containers/{container}/attach", params=params, seconds=None) as said:
        yield _texts(_frames(said.content.iter_any()))


async def _texts(chunks: AsyncIterator[list[tuple[int, bytes]]]) -> AsyncIterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for frames in chunks:
        yield decoder.decode(b"".join(payload for _, payload in frames))


async def _frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Yield the frames of each chunk together, which takes one step of the event loop."""
    buffer = b""
    async for chunk in chunks:
        frames, buffer = _split(buffer + chunk)
        yield frames


def _split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    # Docker API v1.41, "Attach to a container", stream format: 1 byte stream, 3 bytes zero, 4 bytes length.
    frames = []
    at = 0
    while len(data) >= at + _HEADER:
        end = at + _HEADER + int.from_bytes(data[at + 4 : at + _HEADER], "big")
        if len(data) < end:
            break
        frames.append((data[at], data[at + _HEADER : end]))
        at = end
    return frames, data[at:]


@dataclass(frozen=True, slots=True)
class LogTail:
    """Measurements of the last lines of a container's log.

    Args:
        newest: Time of the newest piece, as the Engine wrote it; empty for an empty log.
        gap: Seconds between one piece and the next, the median: a process that prints without a pause still
            waits for its turn on the CPU between some of them.
        size: Bytes that a piece takes in the Engine's log file, on average.
        broken: Whether the newest is a piece of a line without end; all its pieces carry the time of the
            first.
    """

    newest: str = ""
    gap: float = 0.0
    size: float = 0.0
    broken: bool = False


async def tail(engine: Engine, container: str, pieces: int) -> LogTail:
    """Measure the last lines of a container's log, in 1 ms for 20 pieces.

    Args:
        engine: The Engine.
        container: Id of the container.
        pieces: Lines, or pieces of 16 KiB of longer ones.
    """
    params = {"stdout": True, "stderr": True, "timestamps": True, "tail": max(1, pieces)}
    times: list[str] = []
    size, broken = 0, False
    async with engine.request("GET", f"containers/{container}/logs", params=params, seconds=10) as response:
        async for frames in _frames(response.content.iter_any()):
            for _, payload in frames:
                times.append(payload[: payload.find(b" ")].decode(errors="replace"))
                size += len(payload) - len(times[-1]) + ENTRY_OVERHEAD
                broken = not payload.endswith(b"\n")
    if not times:
        return LogTail()
    moments = [datetime.fromisoformat(each) for each in times]
    gaps = [(after - before).total_seconds() for before, after in pairwise(moments)]
    return LogTail(times[-1], median(gaps) if gaps else 0.0, size / len(times), broken)


async def measure(engine: Engine, container: str, *, seconds: float, enough: int) -> int:
    """Follow a container's output; returns the bytes that it takes in the log file.

    Args:
        engine: The Engine.
        container: Id of the container.
        seconds: How long to follow it.
        enough: Bytes at which to stop.
    """
    params = {"stdout": True, "stderr": True, "follow": True, "tail": 0}
    size = 0
    with contextlib.suppress(TimeoutError):
        async with (
            asyncio.timeout(seconds),
            engine.request("GET", f"containers/{container}/logs", params=params, seconds=None) as response,
        ):
            async for frames in _frames(response.content.iter_any()):
                size += sum(len(payload) + ENTRY_OVERHEAD for _, payload in frames)
                if size >= enough:
                    break
    return size
