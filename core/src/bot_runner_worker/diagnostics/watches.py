"""Checks that the worker repeats in the background: whether the Engine answers, and the bots' isolation."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from bot_runner_worker.diagnostics.results import (
    CheckResult,
    State,
    engine_gone,
    isolation_result,
    ok,
    warning,
)
from bot_runner_worker.engine import Engine, EngineError
from bot_runner_worker.isolation.guard import IsolationGuard
from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.model.errors import Unavailable

logger = logging.getLogger(__name__)

ENGINE_INTERVAL = 5.0
"""Seconds between two questions to an Engine that answers."""

ENGINE_INTERVAL_WHILE_GONE = 1.0

ENGINE_TIMEOUT = 5.0
"""Seconds for an answer: even a busy Engine has nothing to look up for it."""

_SECOND_TRY_AFTER = 0.5
"""Seconds before an Engine that did not answer once is asked again."""

RULES_INTERVAL = 20.0
"""Seconds between two looks at the firewall's rules, where they can be read."""

PROBE_INTERVAL = 40.0
"""Seconds between two probes where the rules cannot be read: that they are gone shows within a minute."""

PROBE_INTERVAL_WHILE_OPEN = 20.0

PROBE_INTERVAL_IF_NOT_REQUIRED = 3600.0

PROBE_INTERVAL_WHILE_UNKNOWN = 300.0
"""Seconds after a probe that did not run, if nothing depends on it."""


class EngineWatch:
    """Asks the Engine from time to time whether it answers; logs and tells when that changes.

    Args:
        engine: The Engine.
        on_change: Called when it has gone, or is back.
    """

    def __init__(self, engine: Engine, on_change: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self.on_change = on_change
        self._up: bool | None = None
        self._since = monotonic()
        self._finding = ""
        self.id = ""
        """What the Engine calls itself; empty before its first answer."""
        self._suspected = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether it answered the last question; false before the first."""
        return bool(self._up)

    @property
    def result(self) -> CheckResult:
        """The result of the last question."""
        if self._up is None:
            return warning("not asked yet")
        return ok(self._finding) if self._up else engine_gone(self._engine.address, self._finding)

    def suspect(self) -> None:
        """Ask soon: a call to the Engine has failed."""
        self._suspected.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await _wait(self._suspected, ENGINE_INTERVAL if self.up else ENGINE_INTERVAL_WHILE_GONE)
            self._suspected.clear()

    async def ask(self) -> None:
        """Ask once, and once more before an Engine that answered so far counts as gone."""
        answers = await self._answers()
        if not answers and self._up:
            await asyncio.sleep(_SECOND_TRY_AFTER)
            answers = await self._answers()
        if answers != self._up:
            self._change(answers)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ENGINE_TIMEOUT):
                version = await self._engine.version()
                if not self._up:
                    self.id = await self._engine.id()
        except Unavailable as error:
            self._finding = str(error.details.get("reason") or error)
        except TimeoutError:
            self._finding = f"no answer within {ENGINE_TIMEOUT:.0f} s"
        # Something answers that is no working Engine.
        except (EngineError, ValueError) as error:
            self._finding = str(error)
        else:
            self._finding = f"{version.get('Version')}, API {version.get('ApiVersion')}"
            return True
        return False

    def _change(self, up: bool) -> None:
        before, self._up = self._up, up
        seconds = monotonic() - self._since
        self._since = monotonic()
        if not up:
            logger.error(
                "the Docker Engine at %s does not answer (%s): no tasks are taken until it is back",
                self._engine.address,
                self._finding,
            )
        elif before is not None:
            logger.info("the Docker Engine is back after %.0f s: tasks are taken again", seconds)
        self.on_change()


class IsolationWatch:
    """Looks at the isolation at the start, when the Engine is back, and ever again; logs what has changed.

    Args:
        guard: Finds out.
        engine_up: Whether the Engine answers; without it there is no probe.
    """

    def __init__(self, guard: IsolationGuard, engine_up: Callable[[], bool]) -> None:
        self._guard = guard
        self._engine_up = engine_up
        self._wanted = asyncio.Event()
        self.at: datetime | None = None
        """When the last look ended."""
        self.found = guard.found
        self.result = isolation_result(self.found, guard.settings)

    def again(self) -> None:
        """Look soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wanted.clear()
            if self._engine_up():
                await self._once()
            await _wait(self._wanted, self._pause())

    def _pause(self) -> float:
        if self.found.rules is not None:
            return RULES_INTERVAL
        if self._guard.required:
            return PROBE_INTERVAL if self.found.closed else PROBE_INTERVAL_WHILE_OPEN
        known = self.at is not None and self.found.level is not Level.UNKNOWN
        return PROBE_INTERVAL_IF_NOT_REQUIRED if known else PROBE_INTERVAL_WHILE_UNKNOWN

    async def _once(self) -> None:
        try:
            found = await self._guard.look()
        except Exception as error:
            logger.exception("the isolation probe failed")
            found = Isolation(Level.UNKNOWN, (f"the probe failed ({type(error).__name__})",))
        result = isolation_result(found, self._guard.settings)
        changed = self.at is None or result != self.result
        self.found, self.result, self.at = found, result, datetime.now(UTC)
        if changed:
            self._log(logging.INFO if result.state is State.OK else logging.WARNING)

    def _log(self, level: int) -> None:
        words = ". ".join(filter(None, (self.result.finding, self.result.remedy)))
        logger.log(level, "isolation: %s", words)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not for longer."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
