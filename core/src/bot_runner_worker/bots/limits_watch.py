"""Disk and log watch: a bot that takes more of them than it may is ended.

Disk: the Engine adds up what a bot has written by walking over its files: 1.2 ms for a small bot, 5 to 10 ms
for each thousand files. So it is asked at an interval, and out of turn when the room on its disk shrinks
quickly, which costs nothing to see. A file counts with its length, a sparse one as well; no system call that
takes more room is open to bots (:mod:`bot_runner_worker.seccomp`). A file in a tmpfs is memory and not
counted. What the Engine does not see is found by :mod:`.hidden_files`.

Log: a bot's log is rotated, so a flood fills no disk; it takes the Engine's time, nearly a whole core at full
speed. All bots are looked at by the end of their logs, 1.8 ms each in all: the times of the last lines tell
whether they were printed close together. Only where they were is the output followed for a moment.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic

from bot_runner_worker.aio import DutyCycle
from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.hidden_files import Hidden, HiddenFiles
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.containers import bytes_written
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, containers, logs
from bot_runner_worker.engine.logs import LogTail
from bot_runner_worker.images.disk import EngineDisk, Room
from bot_runner_worker.images.gc import ImageCollector
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.identity import BOT_ID, BUILD_ROLE, NAMESPACE, ROLE, BotKey
from bot_runner_worker.model.quantities import MIB
from bot_runner_worker.model.spec import EndReason
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two glances; whether it is time for a real look is for each watch to say."""

IMAGE_GC_INTERVAL, LOW_DISK_INTERVAL = 300.0, 30.0
"""Seconds between two times that old images are removed, and between those while the disk is nearly full."""

HOLD_TIMEOUT = 5.0
"""How long, in seconds, to wait for somebody who works on a bot that is to be ended. A replacement may build
for minutes, and the bot that it replaces would go on writing."""

DISK_INTERVAL = 10.0
"""Seconds between two looks at disks. Measured with 50 bots of 200 files: 70 ms of the Engine's time each."""

DISK_SHARE, URGENT_SHARE = 0.03, 0.25
"""Parts of the time that looking at disks may take, in turn and out of turn."""

FALL = Room(size=48 * MIB, files=20_000)
"""A look out of turn comes when the room has become this much less since the last."""

LOG_INTERVAL, LOG_SHARE = 3.0, 0.03
"""Shortest time between two looks at all logs, in seconds, and the part of the time that they may take: with
200 bots it comes to a look every 12 s."""

SUSPECT_INTERVAL = 2.0
"""Seconds between two looks at a bot that printed too fast."""

PIECES = 20
WINDOW = 1.0
"""For how long the output of a bot is followed, in seconds."""

STRIKES = 4
"""A bot is ended when it was found too fast this many times more often than not: about 12 seconds of a flood.
A burst at the start, or a large traceback, is over by then."""

_DISKS_AT_ONCE = 2
_LOGS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class LimitViolation:
    """A bot that takes more than it may.

    Args:
        bot: Whose bot it is.
        container: Id of its container.
        reason: What for it is ended.
        details: Facts for the event, such as ``limit_bytes``.
    """

    bot: BotKey
    container: str
    reason: EndReason
    details: Mapping[str, int] = field(default_factory=dict)


OnViolation = Callable[[LimitViolation], Awaitable[None]]
Check = Callable[[BotKey, str], Awaitable[LimitViolation | None]]


async def running_bots(engine: Engine, namespace: str) -> dict[str, BotKey]:
    """The bots that run, by the ids of their containers; 10 ms for 50."""
    rows = await containers.list_by_labels(engine, {NAMESPACE: namespace, ROLE: "bot"})
    return {
        row["Id"]: BotKey.from_labels(row["Labels"])
        for row in rows
        if row["State"] in ("running", "restarting") and BOT_ID in row["Labels"]
    }


async def _check_each(
    bots: Mapping[str, BotKey], check: Check, on_violation: OnViolation, *, at_once: int
) -> None:
    slots = asyncio.Semaphore(at_once)

    async def one(container: str, bot: BotKey) -> None:
        try:
            async with slots:
                violation = await check(bot, container)
            if violation is not None:
                await on_violation(violation)
        except ENGINE_TROUBLE as error:
            # One bot must not hide the others.
            logger.warning("%s could not be compared with its limits: %s", bot, error)

    async with asyncio.TaskGroup() as group:
        for container, bot in bots.items():
            group.create_task(one(container, bot))


class DiskWatch:
    """Finds bots that have written more than they may to their writable layers."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._namespace = settings.runner_namespace
        self._limit = settings.container_disk_limit
        self._max_image_size = settings.max_image_size
        self._disk = EngineDisk(engine, settings)
        self._hidden = HiddenFiles(engine, settings)
        self._found: Mapping[str, Hidden] = {}
        self._min_free = settings.min_free_disk
        self._duty = DutyCycle(DISK_INTERVAL, DISK_SHARE)
        self._room: Room | None = None
        self._took = 0.0

    async def look(self, on_violation: OnViolation) -> None:
        """Look at the disk, and at the bots if it is time to.

        Args:
            on_violation: Awaited with each bot that is over the limit.
        """
        room = await self._disk.room()
        counts = self._hidden.is_due(room)
        is_urgent = self._shrank(room) or counts
        if not (self._duty.is_due() or (is_urgent and self._duty.is_due(URGENT_SHARE))):
            return
        self._room = room
        self._took = 0.0
        try:
            bots = await running_bots(self._engine, self._namespace)
            # What was hidden at an earlier count may be gone by now.
            self._found = await self._count_hidden(bots, room) if counts else {}
            await _check_each(bots, self._check, on_violation, at_once=_DISKS_AT_ONCE)
        finally:
            self._duty.looked(self._took)

    async def _count_hidden(self, bots: Iterable[str], room: Room | None) -> Mapping[str, Hidden]:
        """Count hidden files; a step of a build that hides more than an image may have is killed."""
        builds = await containers.list_by_labels(self._engine, {NAMESPACE: self._namespace, ROLE: BUILD_ROLE})
        steps = [row["Id"] for row in builds if row["State"] == "running"]
        found = await self._hidden.count([*bots, *steps], room)
        for step in steps:
            if found.get(step, Hidden()).size > self._max_image_size:
                logger.warning("killing the step %s of a build for the files that it hides", step[:12])
                await containers.kill(self._engine, step)
        return found

    def _shrank(self, room: Room | None) -> bool:
        if room is None or self._room is None:
            return False
        # Room that came back meanwhile must not hide what is taken next.
        self._room = Room(max(room.size, self._room.size), max(room.files, self._room.files))
        return self._room.size - room.size > FALL.size or self._room.files - room.files > FALL.files

    async def _check(self, bot: BotKey, container: str) -> LimitViolation | None:
        begun = monotonic()
        try:
            used = await bytes_written(self._engine, container, enough=self._limit)
        finally:
            self._took += monotonic() - begun
        hidden = self._found.get(container, Hidden())
        is_full = self._room is not None and self._room.size < self._min_free
        # While there is room enough, files that stay on their way are the bot's own affair.
        if used + hidden.size <= self._limit and not (is_full and hidden.on_their_way):
            return None
        details = {
            "disk_bytes": used + hidden.size,
            "hidden_bytes": hidden.size,
            "files_in_sockets": hidden.on_their_way,
            "limit_bytes": self._limit,
        }
        return LimitViolation(bot, container, EndReason.DISK_LIMIT, details)


class LogWatch:
    """Finds bots that flood their log."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._namespace = settings.runner_namespace
        self._limit = settings.container_log_rate_limit
        self._duty = DutyCycle(LOG_INTERVAL, LOG_SHARE)
        self._suspects_duty = DutyCycle(SUSPECT_INTERVAL, 1)
        self._newest: dict[str, str] = {}
        self._strikes: dict[str, int] = {}

    async def look(self, on_violation: OnViolation) -> None:
        """Look at the bots whose turn it is.

        Args:
            on_violation: Awaited with each bot that floods its log.
        """
        if self._duty.is_due():
            bots = await running_bots(self._engine, self._namespace)
            begun = monotonic()
            suspects = await self._conspicuous(bots)
            self._duty.looked(monotonic() - begun)
        elif self._strikes and self._suspects_duty.is_due():
            bots = await running_bots(self._engine, self._namespace)
            suspects = set()
        else:
            return
        self._newest = {each: time for each, time in self._newest.items() if each in bots}
        self._strikes = {each: count for each, count in self._strikes.items() if each in bots}
        followed = {each: bots[each] for each in suspects | set(self._strikes)}
        await _check_each(followed, self._follow, on_violation, at_once=_LOGS_AT_ONCE)
        self._suspects_duty.looked(0)

    async def _conspicuous(self, bots: dict[str, BotKey]) -> set[str]:
        """The bots whose last lines came close together, and since the last look."""
        found = set()
        for container in bots:
            try:
                tail = await logs.tail(self._engine, container, PIECES)
            except EngineError as error:
                # It may just have been removed.
                logger.debug("the log of the bot %s cannot be read: %s", bots[container], error)
                continue
            moved = tail.newest != self._newest.get(container)
            self._newest[container] = tail.newest
            if tail.broken or (moved and self._is_dense(tail)):
                found.add(container)
        return found

    def _is_dense(self, tail: LogTail) -> bool:
        return tail.size > tail.gap * self._limit / 2

    async def _follow(self, bot: BotKey, container: str) -> LimitViolation | None:
        enough = int(self._limit * WINDOW)
        size = await logs.measure(self._engine, container, seconds=WINDOW, enough=enough)
        strikes = self._strikes.get(container, 0) + (1 if size >= enough else -1)
        if strikes > 0:
            self._strikes[container] = strikes
        else:
            self._strikes.pop(container, None)
        if strikes < STRIKES:
            return None
        details = {"limit_bytes_per_second": self._limit}
        return LimitViolation(bot, container, EndReason.LOG_FLOOD, details)


class LimitsWatch:
    """Watches the disk use and the logs of bots, and removes old images."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        runtime: BotRuntime,
        admission: Admission,
        announcer: Announcer,
        image_gc: ImageCollector,
    ) -> None:
        self._min_free_disk = settings.min_free_disk
        self._runtime = runtime
        self._admission = admission
        self._announcer = announcer
        self._disk = EngineDisk(engine, settings)
        self._disk_watch = DiskWatch(engine, settings)
        self._log_watch = LogWatch(engine, settings)
        self._image_gc = image_gc
        self._collected_at = float("-inf")

    async def run(self) -> None:
        """Watch until cancelled, whatever happens to the Engine meanwhile."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_watch("disk use of bots", lambda: self._disk_watch.look(self.end)))
            group.create_task(_watch("logs of bots", lambda: self._log_watch.look(self.end)))
            group.create_task(_watch("images", self._collect_images))

    async def _collect_images(self) -> None:
        since = monotonic() - self._collected_at
        if since < LOW_DISK_INTERVAL:
            return
        free = await self._disk.free()
        if since >= IMAGE_GC_INTERVAL or (free is not None and free < self._min_free_disk):
            self._collected_at = monotonic()
            await self._image_gc.collect()

    async def end(self, violation: LimitViolation) -> None:
        """End the bot, unless it has been replaced or stopped meanwhile."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(HOLD_TIMEOUT):
                    await stack.enter_async_context(self._admission.exclusively(violation.bot))
            except TimeoutError:
                logger.info("not waiting for who works on %s", violation.bot)
            record = await self._runtime.find(violation.bot)
            if record is None or record.id != violation.container or not record.status.is_live:
                return
            reason, details = violation.reason, violation.details
            await self._runtime.end(record, reason)
            logger.warning("stopped %s: %s %s", record.name, reason.name.lower(), dict(details))
            await self._announcer.tell_end(record, reason, **details)


async def _watch(what: str, look: Callable[[], Awaitable[object]]) -> None:
    failing = False
    while True:
        try:
            await look()
            failing = False
        except Exception as error:
            known = isinstance(error, (BotRunnerError, *ENGINE_TROUBLE))
            # An Engine that is away would fill the log, once a second.
            if not failing:
                logger.warning("the %s cannot be watched: %s", what, error, exc_info=not known)
            failing = True
        await asyncio.sleep(TICK)
