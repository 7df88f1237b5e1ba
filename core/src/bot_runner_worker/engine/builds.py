"""Builds with the classic builder, of instructions that run nothing."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing

from bot_runner_worker.aio import run_to_completion
from bot_runner_worker.engine.client import Engine

LOG_LINES = 60
LOG_BYTES = 16 * 1024

_DRAIN_SECONDS = 20.0
"""How long the output of a cancelled build is read: nobody can end an instruction that runs nothing."""

_STEP = re.compile(r"Step (\d{1,4})/\d{1,4} : ")
_IMAGE = re.compile(r" ---> ([0-9a-f]{12})\n")


class BuildError(Exception):
    """A build failed because of what is in its context.

    Args:
        message: What ended it.
        log: The last lines of the build's output.
        exit_code: Of the command that failed; ``None`` if none did.
        out_of_memory: Whether it ran out of memory.
    """

    def __init__(
        self, message: str, log: list[str], *, exit_code: int | None = None, out_of_memory: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.log = log
        self.exit_code = exit_code
        self.out_of_memory = out_of_memory


async def build(
    engine: Engine,
    *,
    tar: AsyncIterator[bytes],
    dockerfile: str,
    arguments: Mapping[str, str],
    images: dict[str, None],
    on_step: Callable[[int], Awaitable[None]],
) -> str:
    """Build an image; returns its id.

    The call waits for the Engine to end the instruction that it is at, also if it is cancelled: no longer
    than 20 s, and nothing that comes of it goes unnoted.

    Args:
        engine: The Engine.
        tar: The build context.
        dockerfile: Path of the Dockerfile inside it; it has no ``RUN``.
        arguments: Build arguments.
        images: Where the short id of the image after each instruction is noted, made or found.
        on_step: Awaited with the number of each instruction when it begins, from 1.

    Raises:
        BuildError: If the build fails, without a log.
        EngineError: If the Engine refuses the build.
    """
    part = _Build(engine, images, on_step)
    # Nothing of it runs; what an image adds to the Dockerfile (ONBUILD) would at least be offline.
    params = {
        "dockerfile": dockerfile,
        "rm": True,
        "forcerm": True,
        "networkmode": "none",
        "buildargs": dict(arguments),
    }
    reading = asyncio.create_task(part.read(params, tar))
    try:
        return await asyncio.shield(reading)
    finally:
        if not reading.done():
            await run_to_completion(part.end(reading))


class _Build:
    """A build that goes on, as its output tells."""

    def __init__(
        self, engine: Engine, images: dict[str, None], on_step: Callable[[int], Awaitable[None]]
    ) -> None:
        self._engine = engine
        self._images = images
        self._on_step = on_step
        self._begun = False
        self._ended = False
        self._hang_up: Callable[[], None] | None = None

    async def read(self, params: Mapping[str, object], tar: AsyncIterator[bytes]) -> str:
        error, built = None, ""
        lines = self._engine.stream_json(
            "POST",
            "build",
            params=params,
            data=self._sent(tar),
            headers={"Content-Type": "application/x-tar"},
            on_open=self._opened,
        )
        async with aclosing(lines):
            async for line in lines:
                error = line.get("error", error)
                # One for each stage (moby, builder/dockerfile/builder.go).
                built = (line.get("aux") or {}).get("ID", built)
                text = str(line.get("stream", ""))
                if match := _IMAGE.fullmatch(text):
                    self._images[match[1]] = None
                elif not self._ended and (match := _STEP.match(text)):
                    await self._on_step(int(match[1]))
        if error is not None:
            raise BuildError(str(error), [])
        return str(built)

    async def _sent(self, tar: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in tar:
            yield chunk
        # The Engine reads the context to its end before the first instruction.
        self._begun = True

    def _opened(self, hang_up: Callable[[], None]) -> None:
        self._hang_up = hang_up
        if self._ended:
            hang_up()

    async def end(self, reading: asyncio.Task[str]) -> None:
        """Let the Engine end the build after its current instruction, and wait for that."""
        self._ended = True
        if self._hang_up is not None:
            self._hang_up()
        if self._begun:
            await asyncio.wait([reading], timeout=_DRAIN_SECONDS)
        reading.cancel()
        await asyncio.wait([reading])


class BuildLog:
    """The last lines of a build's output, limited in number and size."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes of the whole output, in UTF-8."""
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._open = ""

    def add(self, text: str) -> None:
        """Add a piece of output."""
        self.size += len(text.encode(errors="replace"))
        *complete, rest = (self._open + text).split("\n")
        self._open = rest[-LOG_BYTES:]
        cleaned = (line.rstrip()[-LOG_BYTES:] for line in complete)
        self._lines += [line for line in cleaned if line]

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
