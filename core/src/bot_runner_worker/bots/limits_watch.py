"""The loops that watch what all bots share, and end a bot that takes too much of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic

from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.disk_watch import DiskUseWatch
from bot_runner_worker.bots.limit_violation import LimitViolation
from bot_runner_worker.bots.log_watch import LogRateWatch
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.gc import ImageRetention
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.events import EventType
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two glances; whether it is time for a real look is for each watch to say."""

RETENTION_INTERVAL = 300.0
LOW_DISK_INTERVAL = 30.0
"""Seconds between two times that old images are removed, and between those while the disk is nearly full."""

PATIENCE = 5.0
"""How long, in seconds, to wait for somebody who works on a bot that is to be ended. A replacement may build
for minutes, and the bot that it replaces would go on writing."""

_ASK_AGAIN = 5.0


class Watcher:
    """Watches the disk use and the logs of bots, and removes old images.

    Args:
        settings: Limits and namespace.
        engine: The Engine.
        runtime: Where bots run.
        admission: Serialises the work on each bot.
        announcer: Told of bots that were ended.
        retention: Which images are kept.
        leads: Whether this worker is the one that does it, of all on the Engine.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        runtime: BotRuntime,
        admission: Admission,
        announcer: Announcer,
        retention: ImageRetention,
        leads: Callable[[], Awaitable[bool]],
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._admission = admission
        self._announcer = announcer
        self._leads = leads
        self._not_before = float("-inf")
        self._disk = EngineDisk(engine, settings)
        self._disk_use = DiskUseWatch(engine, settings)
        self._log_rate = LogRateWatch(engine, settings)
        self._retention = retention
        self._tidied = float("-inf")

    async def run(self) -> None:
        """Watch until cancelled, whatever happens to the Engine meanwhile."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch("disk use of bots", lambda: self._disk_use.look(self.end)))
            group.create_task(self._watch("logs of bots", lambda: self._log_rate.look(self.end)))
            group.create_task(self._watch("images", self._tidy))

    async def _watch(self, what: str, look: Callable[[], Awaitable[None]]) -> None:
        failing = False
        while True:
            try:
                if await self._is_ours():
                    await look()
                failing = False
            except Exception as error:
                known = isinstance(error, (BotRunnerError, *ENGINE_TROUBLE))
                # An Engine that is away would fill the log, once a second.
                if not failing:
                    logger.warning("the %s cannot be watched: %s", what, error, exc_info=not known)
                failing = True
            await asyncio.sleep(TICK)

    async def _is_ours(self) -> bool:
        if monotonic() < self._not_before:
            return False
        if await self._leads():
            return True
        self._not_before = monotonic() + _ASK_AGAIN
        return False

    async def _tidy(self) -> None:
        since = monotonic() - self._tidied
        if since < LOW_DISK_INTERVAL:
            return
        free = await self._disk.free()
        if since >= RETENTION_INTERVAL or (free is not None and free < self._settings.min_free_disk):
            self._tidied = monotonic()
            await self._retention.tidy()

    async def end(self, excess: LimitViolation) -> None:
        """End a bot that takes more than it may, unless it has been replaced or stopped meanwhile."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(PATIENCE):
                    await stack.enter_async_context(self._admission.exclusively(excess.bot))
            except TimeoutError:
                logger.info("not waiting for who works on %s", excess.bot)
            record = await self._runtime.find(excess.bot)
            if record is None or record.id != excess.container or not record.status.is_live:
                return
            await self._runtime.end(record, excess.verdict)
            reason = excess.verdict.name.lower()
            logger.warning("stopped %s: %s %s", record.name, reason, dict(excess.details))
            await self._announcer.tell(EventType.STOPPED, record, reason=reason, **excess.details)
