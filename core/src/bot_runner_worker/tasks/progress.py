"""Progress of a start, as the bot's author sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from time import monotonic

from bot_runner_worker.redaction import Redactor

Report = Callable[[float, str], Awaitable[None]]
"""Takes the fraction that is done, 0 to 1, and a few words."""


MIN_INTERVAL = 0.1
"""Seconds between two things that plugins say."""


class Stage(Enum):
    """Stages of a start."""

    PREPARE = "prepare"
    RESOLVE = "resolve"
    OPTIONS = "options"
    START = "start"


# Where each stage begins on the way from 0 to 1, and what it is called. Building takes most of the time.
_STAGES: dict[Stage, tuple[float, float, str]] = {
    Stage.PREPARE: (0.05, 0.3, "preparing the code"),
    Stage.RESOLVE: (0.3, 0.9, "making the image ready"),
    Stage.OPTIONS: (0.9, 0.9, "collecting options"),
    Stage.START: (0.9, 1.0, "starting the container"),
}


class Progress:
    """Turns stages, and what plugins say within them, into a fraction and a message.

    Args:
        report: Where it goes; its failures are the caller's to swallow.
        redactor: Takes secrets out of the messages.
    """

    def __init__(self, report: Report, redactor: Redactor) -> None:
        self._report = report
        self._redactor = redactor
        self._stage = Stage.PREPARE
        self._said_at = float("-inf")
        self._begun: list[tuple[Stage, float]] = []

    async def enter(self, stage: Stage) -> None:
        """Begin a stage. One that is over in no time is not reported."""
        self._stage = stage
        self._said_at = float("-inf")
        self._begun.append((stage, monotonic()))
        begin, end, label = _STAGES[stage]
        if end > begin:
            await self._report(begin, label)

    async def within(self, message: str, fraction: float | None) -> None:
        """Tell what goes on inside the current stage, and leave out what comes too fast."""
        now = monotonic()
        if now - self._said_at < MIN_INTERVAL:
            # Somebody who says things in a loop would otherwise let nobody else run.
            await asyncio.sleep(0)
            return
        self._said_at = now
        begin, end, label = _STAGES[self._stage]
        # Written so that a NaN is nothing done.
        done = begin + (end - begin) * (min(fraction, 1.0) if fraction is not None and fraction > 0 else 0.0)
        await self._report(done, self._redactor.text(f"{label}: {message[:200]}"))

    def seconds(self) -> dict[str, float]:
        """How long each stage took that was entered, by its name; the last one until now."""
        ends = [*(begun for _, begun in self._begun), monotonic()][1:]
        return {stage.value: end - begun for (stage, begun), end in zip(self._begun, ends, strict=False)}
