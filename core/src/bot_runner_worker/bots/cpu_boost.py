"""Startup CPU boost: more CPU for a bot's first seconds.

Those seconds are mostly imports. All bots weigh the same while the CPUs are busy, so one that starts takes no
more than its share from others. The limit that a bot comes down to is in a label: if this worker dies
meanwhile, the supervisor sees to it.
"""

import asyncio
import logging

from bot_runner_worker.aio import BackgroundTasks
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, containers
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_PAUSE = 1.0


class CpuBoost:
    """Gives bots more CPU at their start, and brings them down to their limits."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._cpu = settings.start_burst_cpu
        self._seconds = settings.start_burst_seconds
        self._timers = BackgroundTasks()

    async def cpu(self, limit: float) -> float:
        """With how many cores a bot starts.

        Args:
            limit: What it may use later.
        """
        if self._cpu <= limit or not self._seconds:
            return limit
        # The Engine refuses a limit above what the machine has.
        return max(limit, min(self._cpu, float(await self._engine.cpus())))

    def began(self, container: str, limit: float) -> None:
        """A bot has started: bring it down to its limit in a while."""
        self._timers.start(self._end_later(container, limit))

    async def _end_later(self, container: str, limit: float) -> None:
        await asyncio.sleep(self._seconds)
        for _ in range(_ATTEMPTS):
            try:
                await self.end(container, limit)
            except ENGINE_TROUBLE as error:
                logger.debug("the CPU boost of %s goes on: %s", container[:12], error)
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def end(self, container: str, limit: float) -> None:
        """Bring a container down to its limit; one that is gone is fine.

        Raises:
            EngineError: In the moment in which its process starts or ends.
            Unavailable: If the Engine does not answer.
        """
        try:
            await containers.set_cpu_limit(self._engine, container, limit)
        except EngineError as error:
            if not error.not_found:
                raise

    async def close(self) -> None:
        """Leave the boosts that go on to the supervisor."""
        await self._timers.cancel()
