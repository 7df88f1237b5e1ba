"""Builds with the classic builder, which applies limits to each step."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from bot_runner_worker.engine.client import Engine
from bot_runner_worker.model.image import Progress

LOG_LINES = 60
LOG_BYTES = 16 * 1024
_CPU_PERIOD = 100_000
_EXIT_CODE = re.compile(r"returned a non-zero code: (\d+)\s*$")

_STEP = re.compile(r"Step (\d{1,4})/(\d{1,4}) : (.*)")
# The builder's own lines come as a whole; what a RUN prints is cut anywhere, but may look the same.
_CONTAINER = re.compile(r" ---> Running in ([0-9a-f]{12})\n")
_IMAGE = re.compile(r" ---> ([0-9a-f]{12})\n")
# A Dockerfile has fewer steps: who prints more ids hides those of what was built.
_MOST_IMAGES = 2000
_BUILDERS_OWN = (" ---> ", "Removing intermediate container")


class BuildError(Exception):
    """A build failed because of what is in its context.

    Args:
        message: The Engine's error.
        log: The last lines of the build's output.
        out_of_memory: Whether a step ran out of memory; ``None`` if the Engine does not say.
    """

    def __init__(self, message: str, log: list[str], *, out_of_memory: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.log = log
        self.out_of_memory = out_of_memory

    @property
    def exit_code(self) -> int | None:
        """The exit code of the step that failed; ``None`` if no command did."""
        match = _EXIT_CODE.search(self.message)
        return int(match[1]) if match is not None else None


class EndlessOutput(BuildError):
    """A build printed more than it is allowed to."""


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """What each step of a build may use.

    Args:
        memory: Bytes, without swap.
        cpu: Cores.
        file_size: Bytes of a single file.
        output: Bytes that the whole build may print.
    """

    memory: int
    cpu: float
    file_size: int
    output: int


@dataclass(slots=True)
class BuildTrace:
    """What a build has made so far, as its output says.

    A ``RUN`` can print the same words, so whoever uses an id checks what it names.

    Args:
        on_container: Awaited with the short id of a step's container when it is created, before its start.
        images: Short ids of the images after each step, in their order.
    """

    on_container: Callable[[str], Awaitable[None]]
    images: dict[str, None] = field(default_factory=dict)
    begun: bool = False
    """Whether the Engine has all of the build context: it reads it to the end before the first step."""
    too_long: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the build has printed more than it is allowed to. It goes on until somebody ends it."""
    cancelled: bool = False
    """Whether :meth:`cancel` was called: what the build makes is still noted, progress no longer reported."""
    _hang_up: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Let the Engine end the build after its current step, and kill a ``RUN``."""
        self.cancelled = True
        if self._hang_up is not None:
            self._hang_up()

    def opened(self, hang_up: Callable[[], None]) -> None:
        """Note that the build's output begins.

        Args:
            hang_up: See :meth:`.client.Engine.stream_json`.
        """
        self._hang_up = hang_up
        if self.cancelled:
            hang_up()

    async def note(self, text: str) -> None:
        """Note what a piece of the build's output reports."""
        if match := _CONTAINER.fullmatch(text):
            await self.on_container(match[1])
        elif match := _IMAGE.fullmatch(text):
            self.images.pop(match[1], None)
            self.images[match[1]] = None
            if len(self.images) > _MOST_IMAGES:
                self.too_long.set()


async def build(
    engine: Engine,
    *,
    tag: str,
    tar: AsyncIterator[bytes],
    dockerfile: str,
    network: str,
    arguments: Mapping[str, str],
    limits: BuildLimits,
    trace: BuildTrace,
    progress: Progress,
) -> None:
    """Build an image.

    The Engine removes the containers of its steps whether it succeeds or not, and keeps their images. A
    cancelled call ends the build, but not its current step: nobody learns the id of the image that comes
    of it.

    Args:
        engine: The Engine.
        tag: Reference for the result.
        tar: The build context.
        dockerfile: Path of the Dockerfile inside it.
        network: Network of the steps.
        arguments: Build arguments; the proxy variables are known to every Dockerfile.
        limits: What each step may use.
        trace: Filled in while the build goes on.
        progress: Called at each step.

    Raises:
        BuildError: If the build fails; :class:`EndlessOutput` if it printed too much, however it ended.
        EngineError: If the Engine refuses the build.
    """
    params = {
        "t": tag,
        "dockerfile": dockerfile,
        "rm": True,
        "forcerm": True,
        "networkmode": network,
        "memory": limits.memory,
        "memswap": limits.memory,
        "cpuperiod": _CPU_PERIOD,
        "cpuquota": int(limits.cpu * _CPU_PERIOD),
        # Not in the API's description, but in the Engine (api/server/router/build/build_routes.go).
        "ulimits": [_ulimit("fsize", limits.file_size), _ulimit("core", 0)],
        "buildargs": dict(arguments),
    }
    log = BuildLog()
    lines = engine.stream_json(
        "POST",
        "build",
        params=params,
        data=_sent(tar, trace),
        headers={"Content-Type": "application/x-tar"},
        on_open=trace.opened,
    )
    error = None
    async with aclosing(lines):
        async for line in lines:
            error = line.get("error", error)
            text = str(line.get("stream", ""))
            await trace.note(text)
            if trace.cancelled or trace.too_long.is_set():
                continue
            if step := log.add(text):
                await progress(*step)
            if log.size > limits.output:
                trace.too_long.set()
    if trace.too_long.is_set():
        raise EndlessOutput(f"more than {limits.output} bytes", log.lines())
    if error is not None:
        raise BuildError(str(error), log.lines())


async def _sent(tar: AsyncIterator[bytes], trace: BuildTrace) -> AsyncIterator[bytes]:
    async for chunk in tar:
        yield chunk
    trace.begun = True


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


class BuildLog:
    """The last lines of a build's output, limited in number and size."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes of the whole output, in UTF-8."""
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._open = ""

    def add(self, text: str) -> tuple[str, float | None] | None:
        """Add a piece of output; returns the step that begins in it, and the progress."""
        step = None
        self.size += len(text.encode(errors="replace"))
        *complete, rest = (self._open + text).split("\n")
        self._open = rest[-LOG_BYTES:]
        for line in complete:
            cleaned = line.rstrip()[-LOG_BYTES:]
            if not cleaned or cleaned.startswith(_BUILDERS_OWN):
                continue
            self._lines.append(cleaned)
            if match := _STEP.match(cleaned):
                number, count, instruction = match.groups()
                done = min((int(number) - 1) / max(int(count), 1), 1.0)
                step = (f"step {number} of {count}: {instruction[:120]}", done)
        return step

    def lines(self) -> list[str]:
        """The last lines, as many as fit."""
        kept: deque[str] = deque()
        size = 0
        for line in reversed([*self._lines, self._open] if self._open else self._lines):
            size += len(line) + 1
            if size > LOG_BYTES:
                break
            kept.appendleft(line)
        return list(kept)
