"""The loop that looks after the bots: deaths, deadlines, retention and leftovers."""

import asyncio
import logging
from datetime import UTC, datetime

from bot_runner_worker.engine import EngineError
from bot_runner_worker.errors import BotRunnerError
from bot_runner_worker.events import EventType
from bot_runner_worker.identity import BotKey
from bot_runner_worker.runtime.protocol import BotRuntime
from bot_runner_worker.settings import Settings
from bot_runner_worker.supervision.deaths import DeathWatch
from bot_runner_worker.tasks.admission import Admission
from bot_runner_worker.tasks.announcements import Announcer

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two checks; listing 200 bots takes the Engine about 3 ms."""


class Supervisor:
    """Looks after the bots of one runner.

    Args:
        settings: Retention.
        announcer: Told of what happens to bots.
        runtime: Where bots run.
        admission: Serialises the work on each bot.
    """

    def __init__(
        self, settings: Settings, announcer: Announcer, runtime: BotRuntime, admission: Admission
    ) -> None:
        self._settings = settings
        self._announcer = announcer
        self._deaths = DeathWatch(announcer)
        self._runtime = runtime
        self._admission = admission

    async def run(self) -> None:
        """Look after the bots until cancelled, whatever happens to the Engine meanwhile."""
        while True:
            try:
                now = datetime.now(UTC)
                await self.watch()
                await self.expire(now)
                await self.sweep(now)
            except (BotRunnerError, EngineError) as error:
                logger.warning("the bots could not be looked after: %s", error)
            except Exception:
                logger.exception("the bots could not be looked after")
            await asyncio.sleep(INTERVAL)

    async def watch(self) -> None:
        """Announce the bots that died by themselves since the last call."""
        await self._deaths.look(await self._runtime.list_bots())

    async def expire(self, now: datetime) -> None:
        """Stop the bots whose time is over, and remove those that have been readable for long enough."""
        for record in await self._runtime.list_bots():
            if record.status.is_live and record.expires_at <= now:
                await self._expire_one(record.bot, now)
            elif record.finished_at is not None:
                age = (now - record.finished_at).total_seconds()
                if age > self._settings.retention_hours * 3600:
                    await self._remove_one(record.bot)

    async def sweep(self, now: datetime) -> None:
        """Finish or remove what a killed worker left half-made."""
        await self._runtime.sweep(now)

    async def _expire_one(self, bot: BotKey, now: datetime) -> None:
        async with self._admission.exclusively(bot):
            # It may have been replaced while we waited.
            record = await self._runtime.find(bot)
            if record is not None and record.status.is_live and record.expires_at <= now:
                await self._runtime.stop(record)
                await self._announcer.tell(EventType.EXPIRED, record)

    async def _remove_one(self, bot: BotKey) -> None:
        async with self._admission.exclusively(bot):
            record = await self._runtime.find(bot)
            if record is not None and not record.status.is_live:
                await self._runtime.remove(record)
                await self._announcer.tell(EventType.REMOVED, record)
