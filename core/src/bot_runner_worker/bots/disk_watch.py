"""How much running bots have written to their writable layers.

The Engine adds that up by walking over a bot's files: 1.2 ms for a small bot, 5 to 10 ms for each thousand
files. So it is asked at an interval, and out of turn when the room on its disk shrinks quickly, which costs
nothing to see. A file in a tmpfs is memory and not counted. One that was deleted while it is still open is
not seen: only the Engine's own quota (:mod:`bot_runner_worker.bots.disk_quota`) bounds those.
"""

import asyncio
import logging
from time import monotonic

from bot_runner_worker.aio import DutyCycle
from bot_runner_worker.bots.limit_violation import LimitViolation, OnExcess, running_bots
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, containers
from bot_runner_worker.images.disk import EngineDisk, Room
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.quantities import MIB
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two looks. Measured with 50 bots of 200 files: 70 ms of the Engine's time each."""

SHARE = 0.03
URGENT_SHARE = 0.25
"""Parts of the time that looking may take, in turn and out of turn."""

FALL = Room(size=48 * MIB, files=20_000)
"""A look out of turn comes when the room has become this much less since the last."""

SLOW_WALK = 0.25
"""A walk that takes longer (in seconds) had many files: then they are counted, too."""

SMALLEST_FILE = 4096
"""Bytes that a file takes at least on most file systems; the Engine adds up their lengths."""

_AT_ONCE = 2


class DiskUseWatch:
    """Finds bots that have written more than they may.

    Args:
        engine: The Engine.
        settings: Namespace and limit.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._namespace = settings.runner_namespace
        self._limit = settings.container_disk_limit
        self._disk = EngineDisk(engine, settings)
        self._pace = DutyCycle(INTERVAL, SHARE)
        self._room: Room | None = None
        self._took = 0.0

    async def look(self, on_excess: OnExcess) -> None:
        """Look at the disk, and at the bots if it is time to.

        Args:
            on_excess: Awaited with each bot that is over the limit.

        Raises:
            EngineError: If the Engine refuses a call.
            Unavailable: If it does not answer.
        """
        room = await self._disk.room()
        if not self._pace.is_due() and not (self._shrank(room) and self._pace.is_due(URGENT_SHARE)):
            return
        self._room = room
        self._took = 0.0
        try:
            turns = asyncio.Semaphore(_AT_ONCE)
            bots = await running_bots(self._engine, self._namespace)
            async with asyncio.TaskGroup() as group:
                for container, bot in bots.items():
                    group.create_task(self._look_at(bot, container, turns, on_excess))
        finally:
            self._pace.looked(self._took)

    def _shrank(self, room: Room | None) -> bool:
        if room is None or self._room is None:
            return False
        # Room that came back meanwhile must not hide what is taken next.
        self._room = Room(max(room.size, self._room.size), max(room.files, self._room.files))
        return self._room.size - room.size > FALL.size or self._room.files - room.files > FALL.files

    async def _look_at(
        self, bot: BotKey, container: str, turns: asyncio.Semaphore, on_excess: OnExcess
    ) -> None:
        try:
            async with turns:
                begun = monotonic()
                try:
                    used = await self._used(container)
                finally:
                    self._took += monotonic() - begun
            if used > self._limit:
                details = {"disk_bytes": used, "limit_bytes": self._limit}
                await on_excess(LimitViolation(bot, container, EndReason.DISK_LIMIT, details))
        except ENGINE_TROUBLE as error:
            # One bot must not hide the others.
            logger.warning("the disk use of %s could not be held against the limit: %s", bot, error)

    async def _used(self, container: str) -> int:
        begun = monotonic()
        found = await containers.inspect(self._engine, container, size=True)
        used = int(found.get("SizeRw", 0)) if found is not None else 0
        if used > self._limit or monotonic() - begun < SLOW_WALK:
            return used
        enough = (self._limit - used) // SMALLEST_FILE + 1
        files = await containers.count_changes(self._engine, container, enough=enough)
        return used + files * SMALLEST_FILE
