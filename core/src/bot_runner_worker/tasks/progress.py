"""Progress of a start, as its author sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from time import monotonic

from bot_runner_worker.redaction import Redactor

Report = Callable[[float, str], Awaitable[None]]
"""Called with the fraction that is done, 0 to 1, and a few words."""

MIN_INTERVAL = 0.1
"""Seconds between two reports of plugins."""


class Stage(Enum):
    """Stages of a start."""

    PREPARE = "prepare"
    RESOLVE = "resolve"
    OPTIONS = "options"
    START = "start"


# At which fraction each stage begins and ends, and its name. Building takes most of the time.
_STAGES: dict[Stage, tuple[float, float, str]] = {
    Stage.PREPARE: (0.05, 0.3, "preparing the code"),
    Stage.RESOLVE: (0.3, 0.9, "making the image ready"),
    Stage.OPTIONS: (0.9, 0.9, "collecting options"),
    Stage.START: (0.9, 1.0, "starting the container"),
}


class StartProgress:
    """Turns stages, and reports of plugins within them, into fractions and messages.

    Args:
        report: Called with both; it must not raise.
        redactor: Removes secrets from the messages.
    """

    def __init__(self, report: Report, redactor: Redactor) -> None:
        self._report = report
        self._redactor = redactor
        self._stage = Stage.PREPARE
        self._said_at = float("-inf")
        self._begun: list[tuple[Stage, float]] = []

    async def enter(self, stage: Stage) -> None:
        """Begin a stage; one that takes no time is not reported."""
        self._stage = stage
        self._said_at = float("-inf")
        self._begun.append((stage, monotonic()))
        begin, end, label = _STAGES[stage]
        if end > begin:
            await self._report(begin, label)

    async def within(self, message: str, fraction: float | None) -> None:
        """Report progress within the current stage; leaves out what comes too fast."""
        now = monotonic()
        if now - self._said_at < MIN_INTERVAL:
            # A plugin that reports in a loop would otherwise block the event loop.
            await asyncio.sleep(0)
            return
        self._said_at = now
        begin, end, label = _STAGES[self._stage]
        # In this form, a NaN counts as 0.
        done = begin + (end - begin) * (min(fraction, 1.0) if fraction is not None and fraction > 0 else 0.0)
        await self._report(done, self._redactor.text(f"{label}: {message[:200]}"))

    def seconds(self) -> dict[str, float]:
        """Seconds that each entered stage took, by its name; the last one until now."""
        ends = [*(begun for _, begun in self._begun), monotonic()][1:]
        return {stage.value: end - begun for (stage, begun), end in zip(self._begun, ends, strict=False)}
