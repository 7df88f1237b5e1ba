"""Who works on which bot, how many bots a tenant may start, and whose turn it is.

A start passes, in this order: the line of its bot, its tenant's quota, and a queue for slots, of which each
tenant has a share. So nobody holds what others need while it waits. All of it is state of this process: only
one worker of a namespace is active, see :mod:`bot_runner_worker.lease`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from bot_runner_worker.aio import FairQueue, Interruption, Turn
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.model.errors import Code, Rejected, Unavailable
from bot_runner_worker.model.identity import BotKey

Answer = TypeVar("Answer")

SHORT_TASKS_AT_ONCE = 64
SHORT_TASKS_OF_ONE_TENANT = 16
"""Stops, logs, lists and statuses that are answered at the same time, whatever is being started."""


@dataclass(frozen=True, slots=True)
class StartUnderWay:
    """A start that is under way.

    Args:
        bot: Which bot.
        mode: Deployment mode; empty for a restart.
        begun_at: When it got its place.
    """

    bot: BotKey
    mode: str
    begun_at: datetime


@dataclass(eq=False)
class _Start:
    """A start that waits for its bot or is under way; one with the same content joins it, for its answer."""

    content: str
    interruption: Interruption
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    place: StartUnderWay | None = None


class Admission:
    """Serialises the work on each bot, and lets starts begin within their tenants' quota and share.

    Args:
        runtime: Where the bots are counted.
        max_bots_per_user: Live bots that one tenant may have.
        max_starts: Starts and restarts that are worked on at once; half of them at most for one tenant.
    """

    def __init__(self, runtime: BotRuntime, max_bots_per_user: int, max_starts: int = 64) -> None:
        self._runtime = runtime
        self._limit = max_bots_per_user
        self._bots: WeakValueDictionary[BotKey, asyncio.Lock] = WeakValueDictionary()
        self._tenants: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._requested: defaultdict[BotKey, set[Interruption]] = defaultdict(set)
        self._waiting: dict[tuple[BotKey, bool], _Start] = {}
        self._starting: dict[BotKey, _Start] = {}
        self._starts = FairQueue(max_starts, most_of_one=max(1, max_starts // 2))
        self._short_tasks = FairQueue(SHORT_TASKS_AT_ONCE, most_of_one=SHORT_TASKS_OF_ONE_TENANT)
        self.working = 0
        """Tasks that have their turn."""
        self._making = 0
        self._not_begun: set[Interruption] = set()
        self._closed = False

    def exclusively(self, bot: BotKey) -> AbstractAsyncContextManager[None]:
        """While the block runs, nothing else happens to this bot.

        It waits for whatever is going on, which may be a start of some minutes: see :meth:`busy`. Neither it
        nor :meth:`start` can be entered again for the same bot inside it.
        """
        return self._bots.setdefault(bot, asyncio.Lock())

    async def start(
        self, bot: BotKey, work: Callable[[Turn], Awaitable[Answer]], *, content: str = "", mode: str = ""
    ) -> tuple[Answer, bool]:
        """Do the work of a start :meth:`exclusively`, with one of the tenant's places and one of its slots.

        A bot that is live already needs no further place. Whoever stops the bot meanwhile ends the work. One
        start and one restart of a bot may wait: a newer one with the same content gets the answer of that
        one, or of the start that is under way; a start with other content takes the place of the one that
        waits.

        Args:
            bot: The bot.
            work: Does it, with the turn that it holds.
            content: What would be started; empty for a restart.
            mode: Deployment mode, shown to those who ask for the bot meanwhile.

        Returns:
            The answer, and whether it is that of another start.

        Raises:
            Rejected: ``QUOTA_EXCEEDED`` if all places are taken by running bots and other starts;
                ``START_CANCELLED`` if the bot was stopped meanwhile; ``SUPERSEDED`` by a newer start.
            Unavailable: If the Engine does not answer; ``WORKER_STOPPING`` after :meth:`close`.
        """
        if self._closed:
            raise _stopping()
        with Interruption() as interruption, self._stoppable(bot, interruption):
            while (same := self._same(bot, content)) is not None:
                await asyncio.wait([same.answer])
                if not same.answer.cancelled():
                    return same.answer.result(), True
                # It was cancelled; one of those who have joined it begins anew.
            start = _Start(content, interruption)
            with self._answering(start):
                async with self._line(bot, start):
                    await self._take_place(bot, start, mode)
                    async with self._starts.turn(bot.user_id) as turn:
                        self._not_begun.discard(interruption)
                        with self._at_work():
                            start.answer.set_result(await work(turn))
            return start.answer.result(), False

    def close(self) -> None:
        """Let no further start begin, since this worker stops: those that wait are for another one."""
        self._closed = True
        for each in list(self._not_begun):
            each.interrupt(_stopping())

    def _same(self, bot: BotKey, content: str) -> _Start | None:
        """The newest start of a bot, if it has the same content."""
        newest = self._waiting.get((bot, bool(content)))
        if newest is None and content:
            newest = self._starting.get(bot)
        if newest is None or newest.content != content or newest.interruption.error is not None:
            return None  # nobody joins a start that is being ended, either
        return newest

    @asynccontextmanager
    async def _line(self, bot: BotKey, start: _Start) -> AsyncIterator[None]:
        """Wait for the bot in the place of an older start, and hold it :meth:`exclusively`."""
        line = (bot, bool(start.content))
        if (older := self._waiting.get(line)) is not None:
            older.interruption.interrupt(_superseded(bot))
        self._waiting[line] = start
        lock = self.exclusively(bot)
        try:
            await lock.__aenter__()
        finally:
            if self._waiting.get(line) is start:
                del self._waiting[line]
        self._starting[bot] = start
        try:
            yield
        finally:
            del self._starting[bot]
            await lock.__aexit__(None, None, None)

    @contextmanager
    def _answering(self, start: _Start) -> Iterator[None]:
        """Let those who have joined a start know its error."""
        try:
            yield
        except BaseException as error:
            failure = start.interruption.error if isinstance(error, asyncio.CancelledError) else error
            if failure is None or start.answer.done():
                start.answer.cancel()
            else:
                start.answer.set_exception(failure)
                start.answer.exception()  # or asyncio complains that nobody has asked for it
            raise

    async def _take_place(self, bot: BotKey, start: _Start, mode: str) -> None:
        # One count at a time: no other start of this tenant gets a place meanwhile.
        async with self._tenants.setdefault(bot.user_id, asyncio.Lock()):
            await self._check_quota(bot)
            start.place = StartUnderWay(bot, mode, datetime.now(UTC))

    @contextmanager
    def _stoppable(self, bot: BotKey, interruption: Interruption) -> Iterator[None]:
        self._requested[bot].add(interruption)
        self._not_begun.add(interruption)
        try:
            yield
        finally:
            self._not_begun.discard(interruption)
            self._requested[bot].discard(interruption)
            if not self._requested[bot]:
                del self._requested[bot]

    @asynccontextmanager
    async def stopping(self, bot: BotKey) -> AsyncIterator[bool]:
        """End the starts of a bot that are under way or wait, then hold it :meth:`exclusively`.

        Yields:
            Whether there was such a start.
        """
        starts = list(self._requested.get(bot, ()))
        for start in starts:
            start.interrupt(_cancelled(bot))
        async with self.exclusively(bot):
            yield bool(starts)

    @asynccontextmanager
    async def short_task(self, user_id: str) -> AsyncIterator[None]:
        """Wait for a turn among the stops, logs, lists and statuses, which no start keeps from going on.

        Args:
            user_id: The tenant.
        """
        async with self._short_tasks.turn(user_id):
            with self._at_work():
                yield

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1

    @asynccontextmanager
    async def making(self) -> AsyncIterator[None]:
        """While the block runs, something is made that no bot waits for, such as an image beforehand."""
        self._making += 1
        try:
            yield
        finally:
            self._making -= 1

    def busy(self) -> set[BotKey]:
        """The bots that are worked on right now."""
        return {bot for bot, lock in self._bots.items() if lock.locked()}

    def at_work(self) -> bool:
        """Whether anything is worked on, a bot or not."""
        return bool(self._making or self.busy())

    def starting(self, user_id: str) -> list[StartUnderWay]:
        """A tenant's starts that have their place, the oldest first."""
        places = (start.place for start in self._starting.values())
        starts = [each for each in places if each is not None and each.bot.user_id == user_id]
        return sorted(starts, key=lambda each: (each.begun_at, each.bot.bot_id))

    async def _check_quota(self, bot: BotKey) -> None:
        # In this order: a start that ends in between is found among the bots.
        starting = {each.bot for each in self.starting(bot.user_id)}
        records = await self._runtime.list_bots(bot.user_id)
        live = {record.bot for record in records if record.status.is_live}
        taken = (live | starting) - {bot}
        if bot not in live and len(taken) >= self._limit:
            raise Rejected(
                Code.QUOTA_EXCEEDED,
                f"This user already has {len(taken)} of {self._limit} bots running.",
                hint="Stop one of them first: " + ", ".join(sorted(each.bot_id for each in taken)) + ".",
                details={"running": len(taken), "max_bots": self._limit},
                stage="quota",
            )


def _cancelled(bot: BotKey) -> Rejected:
    return Rejected(
        Code.START_CANCELLED,
        f"The bot {bot.bot_id} was stopped while it was being started.",
        hint="Start it again if it should run.",
        stage="start",
    )


def _stopping() -> Unavailable:
    return Unavailable(
        Code.WORKER_STOPPING,
        "The worker was stopped before the start began.",
        hint="Send the request again in a minute.",
        stage="start",
    )


def _superseded(bot: BotKey) -> Rejected:
    return Rejected(
        Code.SUPERSEDED,
        f"A newer start of the bot {bot.bot_id} came while this one waited.",
        hint="See how the newer one ends; nothing was done for this one.",
        stage="start",
    )
