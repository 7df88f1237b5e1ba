"""Who may start how many bots: the limit per tenant, exact under any number of concurrent starts."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from bot_runner_worker.errors import Code, Rejected
from bot_runner_worker.identity import BotKey
from bot_runner_worker.runtime.protocol import BotRuntime


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
        self._starting: defaultdict[str, set[BotKey]] = defaultdict(set)

    def exclusively(self, bot: BotKey) -> asyncio.Lock:
        """A lock under which nothing else happens to this bot."""
        return self._bots.setdefault(bot, asyncio.Lock())

    @asynccontextmanager
    async def place_for(self, bot: BotKey) -> AsyncIterator[None]:
        """Hold one of the tenant's places while the bot is being started.

        Raises:
            Rejected: ``QUOTA_EXCEEDED`` if all places are taken by running bots and other starts.
        """
        user = bot.user_id
        lock = self._tenants.setdefault(user, asyncio.Lock())
        async with lock:
            records = await self._runtime.list_bots(user)
            live = {record.bot for record in records if record.status.is_live}
            taken = (live | self._starting[user]) - {bot}
            if len(taken) >= self._limit:
                raise Rejected(
                    Code.QUOTA_EXCEEDED,
                    f"This user already has {len(taken)} of {self._limit} bots running.",
                    hint="Stop one of them first: " + ", ".join(sorted(each.bot_id for each in taken)) + ".",
                    details={"running": len(taken), "max_bots": self._limit},
                    stage="quota",
                )
            self._starting[user].add(bot)
        try:
            yield
        finally:
            self._starting[user].discard(bot)
            if not self._starting[user]:
                del self._starting[user]
