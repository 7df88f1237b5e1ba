"""How well bots are kept apart from the host: probed at the start, when the Engine is back, and each hour."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.model.errors import BotRunnerError

logger = logging.getLogger(__name__)

INTERVAL = 3600.0
"""Seconds between two probes: a firewall that reloads may drop the rules at any time."""

INTERVAL_WHILE_UNKNOWN = 300.0
"""Seconds after a probe that did not run, such as one before the base image was there."""


class IsolationWatch:
    """Probes from time to time, and logs what has changed.

    Args:
        probe: Does it once; see :func:`bot_runner_worker.isolation.probe.probe_isolation`.
            ``None`` if the operator does not want it.
        engine_up: Whether the Engine answers; without it there is nothing to probe.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[Isolation]] | None, engine_up: Callable[[], bool]
    ) -> None:
        self._probe = probe
        self._engine_up = engine_up
        self._wanted = asyncio.Event()
        self.found = Isolation(Level.UNKNOWN, ("it was not probed yet",))
        self.check = Check(findings.ISOLATION, State.WARNING, str(self.found))
        if probe is None:
            self.found = Isolation(Level.UNKNOWN, ("ISOLATION_PROBE is off",))
            self.check = findings.isolation_not_wanted()
        self.at: datetime | None = None

    def again(self) -> None:
        """Probe soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Go on probing until cancelled."""
        if self._probe is None:
            _log(logging.INFO, self.check)
            return
        while True:
            self._wanted.clear()
            if self._engine_up():
                await self._once(self._probe)
            known = self.at is not None and self.found.level is not Level.UNKNOWN
            try:
                async with asyncio.timeout(INTERVAL if known else INTERVAL_WHILE_UNKNOWN):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def _once(self, probe: Callable[[], Awaitable[Isolation]]) -> None:
        try:
            found = await probe()
            check = findings.isolation(found)
        except BotRunnerError as error:
            found = Isolation(Level.UNKNOWN, (str(error),))
            check = findings.isolation_not_probed(error)
        except Exception as error:
            logger.exception("the isolation probe failed")
            found = Isolation(Level.UNKNOWN, (f"the probe failed ({type(error).__name__})",))
            check = Check(findings.ISOLATION, State.WARNING, str(found))
        changed = self.at is None or check != self.check
        self.found, self.check, self.at = found, check, datetime.now(UTC)
        if changed:
            _log(logging.INFO if check.state is State.OK else logging.WARNING, check)


def _log(level: int, check: Check) -> None:
    logger.log(level, "isolation: %s", ". ".join(filter(None, (check.finding, check.remedy))))
