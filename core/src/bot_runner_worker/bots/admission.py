"""Who works on which bot, and how many bots a tenant may start.

All of it is state of this process: only one worker of a namespace is active,
see :mod:`bot_runner_worker.lease`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from bot_runner_worker.aio import Interruption
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BotKey


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


class Admission:
    """Serialises the work on each bot, and reserves a place before a start does anything costly.

    Args:
        runtime: Where the bots are counted.
        max_bots_per_user: Live bots that one tenant may have.
    """

    def __init__(self, runtime: BotRuntime, max_bots_per_user: int) -> None:
        self._runtime = runtime
        self._limit = max_bots_per_user
        self._bots: WeakValueDictionary[BotKey, asyncio.Lock] = WeakValueDictionary()
        self._tenants: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._requested: defaultdict[BotKey, set[Interruption]] = defaultdict(set)
        self._starting: dict[BotKey, StartUnderWay] = {}
        self._making = 0

    def exclusively(self, bot: BotKey) -> AbstractAsyncContextManager[None]:
        """While the block runs, nothing else happens to this bot.

        It waits for whatever is going on, which may be a start of some minutes: see :meth:`busy`. Neither it
        nor :meth:`place_for` can be entered again for the same bot inside it.
        """
        return self._bots.setdefault(bot, asyncio.Lock())

    @asynccontextmanager
    async def place_for(self, bot: BotKey, *, mode: str = "") -> AsyncIterator[None]:
        """Hold one of the tenant's places while the bot is being started, and the bot :meth:`exclusively`.

        A bot that is live already needs no further place. Whoever stops the bot meanwhile ends the block.

        Args:
            bot: The bot.
            mode: Deployment mode, shown to those who ask for the bot meanwhile.

        Raises:
            Rejected: ``QUOTA_EXCEEDED`` if all places are taken by running bots and other starts;
                ``START_CANCELLED`` if the bot was stopped meanwhile.
            Unavailable: If the Engine does not answer.
        """
        with Interruption() as interruption, self._stoppable(bot, interruption):
            async with self.exclusively(bot):
                # One count at a time: no other start of this tenant gets a place meanwhile.
                async with self._tenants.setdefault(bot.user_id, asyncio.Lock()):
                    await self._check_quota(bot)
                    self._starting[bot] = StartUnderWay(bot, mode, datetime.now(UTC))
                try:
                    yield
                finally:
                    del self._starting[bot]

    @contextmanager
    def _stoppable(self, bot: BotKey, interruption: Interruption) -> Iterator[None]:
        self._requested[bot].add(interruption)
        try:
            yield
        finally:
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
        """A tenant's starts that are under way, the oldest first."""
        starts = [each for each in self._starting.values() if each.bot.user_id == user_id]
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
