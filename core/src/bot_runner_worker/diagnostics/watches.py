"""Checks that the worker repeats in the background: whether the Engine answers, and the bots' isolation."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic

from bot_runner_worker.diagnostics.results import (
    CheckResult,
    State,
    engine_gone,
    isolation_error,
    isolation_off,
    isolation_result,
    ok,
    warning,
)
from bot_runner_worker.engine import Engine, EngineError
from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.model.errors import BotRunnerError, Unavailable

logger = logging.getLogger(__name__)

ENGINE_INTERVAL = 5.0
"""Seconds between two questions to an Engine that answers."""

ENGINE_INTERVAL_WHILE_GONE = 1.0

ENGINE_TIMEOUT = 5.0
"""Seconds for an answer: even a busy Engine has nothing to look up for it."""

_SECOND_TRY_AFTER = 0.5
"""Seconds before an Engine that did not answer once is asked again."""

ISOLATION_INTERVAL = 3600.0
"""Seconds between two probes: a firewall that reloads may drop the rules at any time."""

ISOLATION_INTERVAL_WHILE_UNKNOWN = 300.0
"""Seconds after a probe that did not run, such as one before the base image was there."""


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
    """Probes the isolation at the start, when the Engine is back, and each hour; logs what has changed.

    Args:
        probe: See :func:`bot_runner_worker.isolation.probe.probe_isolation`; ``None`` if it is switched off.
        engine_up: Whether the Engine answers; without it there is no probe.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[Isolation]] | None, engine_up: Callable[[], bool]
    ) -> None:
        self._probe = probe
        self._engine_up = engine_up
        self._wanted = asyncio.Event()
        self.at: datetime | None = None
        """When the last probe ended."""
        self.found = Isolation(Level.UNKNOWN, ("it was not probed yet",))
        self.result = warning(str(self.found))
        if probe is None:
            self.found, self.result = isolation_off()

    def again(self) -> None:
        """Probe soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Probe until cancelled."""
        if self._probe is None:
            self._log(logging.INFO)
            return
        while True:
            self._wanted.clear()
            if self._engine_up():
                await self._once(self._probe)
            known = self.at is not None and self.found.level is not Level.UNKNOWN
            await _wait(self._wanted, ISOLATION_INTERVAL if known else ISOLATION_INTERVAL_WHILE_UNKNOWN)

    async def _once(self, probe: Callable[[], Awaitable[Isolation]]) -> None:
        try:
            found = await probe()
            result = isolation_result(found)
        except BotRunnerError as error:
            found, result = isolation_error(error)
        except Exception as error:
            logger.exception("the isolation probe failed")
            found = Isolation(Level.UNKNOWN, (f"the probe failed ({type(error).__name__})",))
            result = warning(str(found))
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
