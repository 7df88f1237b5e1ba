"""Who may work on which bot, and who may start how many: exact over all workers on one Engine.

Within the worker, locks keep order; between workers, claims on the Engine do. The lock always comes first, so
that one worker asks the Engine once however many of its tasks wait.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from bot_runner_worker.aio import Interruption
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.coordination import Coordination
from bot_runner_worker.coordination.claim import Claim, Kind
from bot_runner_worker.coordination.claims import Pauses
from bot_runner_worker.coordination.stop_requests import Asking
from bot_runner_worker.model.errors import Code, Rejected, Unavailable
from bot_runner_worker.model.identity import MODE, STARTED_AT, USER_ID, BotKey
from bot_runner_worker.model.results import timestamp


@dataclass(frozen=True, slots=True)
class StartUnderWay:
    """A start that some worker is busy with.

    Args:
        bot: Which bot.
        mode: Deployment mode; empty for a restart.
        begun_at: When it got its place.
    """

    bot: BotKey
    mode: str
    begun_at: datetime


@dataclass(slots=True)
class Stopping:
    """What a stop has met.

    Args:
        ended_start: Whether a start was under way, here or on another worker.
    """

    ended_start: bool = False


class Admission:
    """Serialises the work on each bot, and reserves a place before a start does anything costly.

    Args:
        runtime: Where the bots are counted.
        coordination: Claims on the Engine.
        max_bots_per_user: Live bots that one tenant may have.
    """

    def __init__(self, runtime: BotRuntime, coordination: Coordination, max_bots_per_user: int) -> None:
        self._runtime = runtime
        self._claims = coordination.claims
        self._stop_requests = coordination.stop_requests
        self._limit = max_bots_per_user
        self._bots: WeakValueDictionary[BotKey, asyncio.Lock] = WeakValueDictionary()
        self._tenants: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._starts: defaultdict[BotKey, set[Interruption]] = defaultdict(set)

    @asynccontextmanager
    async def exclusively(self, bot: BotKey) -> AsyncIterator[None]:
        """While the block runs, nothing else happens to this bot, on any worker.

        It waits for whatever is going on, which may be a start of some minutes: see :meth:`busy`. Neither it
        nor :meth:`place_for` can be entered again for the same bot inside it.

        Raises:
            Unavailable: If the Engine does not answer, or this worker was taken for dead meanwhile.
        """
        with Interruption() as interruption:
            async with self._claimed(bot, interruption):
                yield

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
            Unavailable: See :meth:`exclusively`.
        """
        with Interruption() as interruption, self._stoppable(bot, interruption):
            async with self._lock_of(bot):
                claim = await self._claim_place(bot, mode, interruption)
                try:
                    with self._stop_requests.heard(claim, lambda: interruption.interrupt(_cancelled(bot))):
                        yield
                finally:
                    self._claims.release(claim)

    @asynccontextmanager
    async def stopping(self, bot: BotKey) -> AsyncIterator[Stopping]:
        """End the starts of a bot that are under way on any worker, then hold it :meth:`exclusively`."""
        stopping = Stopping()
        with Interruption() as interruption:
            for start in list(self._starts.get(bot, ())):
                start.interrupt(_cancelled(bot))
                stopping.ended_start = True
            async with self._stop_requests.asking() as asking:
                # At once, while this stop waits in line: whoever comes later starts after it.
                ask = asyncio.create_task(self._ask_others(bot, asking))
                try:
                    async with self._claimed(bot, interruption, asking.end):
                        await ask
                        stopping.ended_start |= bool(asking.tokens)
                        yield stopping
                finally:
                    ask.cancel()
                    await asyncio.wait([ask])

    async def _ask_others(self, bot: BotKey, asking: Asking) -> None:
        for claim in (await self._claims.look()).claims:
            if claim.bot == bot and not self._claims.is_own(claim):
                await asking.end(claim)

    async def busy(self) -> set[BotKey]:
        """The bots that any worker is working on right now.

        Raises:
            Unavailable: If the Engine does not answer.
        """
        sighting = await self._claims.look()
        return {claim.bot for claim in sighting.claims if claim.bot is not None and _is_work(claim)}

    async def at_work(self) -> bool:
        """Whether any worker is working on anything, a bot or not.

        Raises:
            Unavailable: If the Engine does not answer.
        """
        sighting = await self._claims.look()
        return any(_is_work(claim) or claim.kind == Kind.MAKING for claim in sighting.claims)

    async def starting(self, user_id: str) -> list[StartUnderWay]:
        """A tenant's starts that are under way on any worker, the oldest first.

        Raises:
            Unavailable: If the Engine does not answer.
        """
        starts = [
            StartUnderWay(claim.bot, claim.labels.get(MODE, ""), _begun_at(claim))
            for claim in (await self._claims.look()).claims
            if claim.bot is not None and claim.kind == Kind.START and claim.bot.user_id == user_id
        ]
        return sorted(starts, key=lambda each: (each.begun_at, each.bot.bot_id))

    # Between the tasks of this worker

    def _lock_of(self, bot: BotKey) -> asyncio.Lock:
        return self._bots.setdefault(bot, asyncio.Lock())

    @contextmanager
    def _stoppable(self, bot: BotKey, interruption: Interruption) -> Iterator[None]:
        self._starts[bot].add(interruption)
        try:
            yield
        finally:
            self._starts[bot].discard(interruption)
            if not self._starts[bot]:
                del self._starts[bot]

    # Between workers

    @asynccontextmanager
    async def _claimed(
        self,
        bot: BotKey,
        interruption: Interruption,
        meanwhile: Callable[[Claim], Awaitable[None]] | None = None,
    ) -> AsyncIterator[None]:
        claims = self._claims
        async with self._lock_of(bot):
            claim = await claims.take(
                claims.names.bot(bot),
                Kind.WORK,
                bot.labels(claims.namespace),
                on_loss=lambda: interruption.interrupt(_lost(bot)),
                meanwhile=meanwhile,
            )
            try:
                yield
            finally:
                claims.release(claim)

    async def _claim_place(self, bot: BotKey, mode: str, interruption: Interruption) -> Claim:
        claims = self._claims
        labels = {
            **bot.labels(claims.namespace),
            MODE: mode,
            STARTED_AT: timestamp(datetime.now(UTC)),
        }
        pauses = Pauses()
        while True:
            async with self._counting(bot.user_id):
                # At the same time: nobody else counts before this block is left.
                taking = asyncio.create_task(
                    claims.try_take(
                        claims.names.bot(bot),
                        Kind.START,
                        labels,
                        on_loss=lambda: interruption.interrupt(_lost(bot)),
                    )
                )
                try:
                    await self._check_quota(bot)
                    claim = await taking
                except BaseException:
                    await self._give_back(taking)
                    raise
            if claim.mine:
                return claim
            # Wait without keeping other starts of the tenant from being counted.
            await self._await_end(claim, bot, pauses)

    async def _give_back(self, taking: asyncio.Task[Claim]) -> None:
        taking.cancel()
        await asyncio.wait([taking])
        if not taking.cancelled() and taking.exception() is None and taking.result().mine:
            self._claims.release(taking.result())
        await self._claims.settled()

    async def _await_end(self, claim: Claim, bot: BotKey, pauses: Pauses) -> None:
        while True:
            await pauses.next()
            sighting = await self._claims.look()
            if claim.token in sighting.stop_requests:
                raise _cancelled(bot)
            if claim.token not in {each.token for each in sighting.claims}:
                return

    @asynccontextmanager
    async def _counting(self, user_id: str) -> AsyncIterator[None]:
        """While the block runs, no other start of this tenant gets a place."""
        claims = self._claims
        async with self._tenants.setdefault(user_id, asyncio.Lock()):
            claim = await claims.take(claims.names.quota(user_id), Kind.QUOTA, {USER_ID: user_id})
            try:
                yield
            finally:
                claims.release(claim)

    async def _check_quota(self, bot: BotKey) -> None:
        # In this order: a start that ends in between is found among the bots.
        starting = {each.bot for each in await self.starting(bot.user_id)}
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


def _is_work(claim: Claim) -> bool:
    return claim.kind in (Kind.WORK, Kind.START)


def _begun_at(claim: Claim) -> datetime:
    return datetime.fromisoformat(claim.labels[STARTED_AT])


def _cancelled(bot: BotKey) -> Rejected:
    return Rejected(
        Code.START_CANCELLED,
        f"The bot {bot.bot_id} was stopped while it was being started.",
        hint="Start it again if it should run.",
        stage="start",
    )


def _lost(bot: BotKey) -> Unavailable:
    return Unavailable(
        Code.INTERNAL_ERROR,
        f"The worker stood still for so long that another one took over the bot {bot.bot_id}.",
        hint="Try again.",
    )
