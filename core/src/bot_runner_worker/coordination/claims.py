"""Claims: who works on what, exact over all workers on one Engine."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic

from bot_runner_worker.coordination import liveness
from bot_runner_worker.coordination.claim import Claim, Kind, OnLoss, Sighting
from bot_runner_worker.coordination.holdings import Holdings
from bot_runner_worker.coordination.liveness import Census, Presence
from bot_runner_worker.coordination.naming import Names
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, volumes
from bot_runner_worker.model.identity import (
    CACHE_ROLE,
    CLAIM_ROLE,
    INSTANCE,
    NAMESPACE,
    PRESENCE_ROLE,
    ROLE,
    STOP_REQUEST_ROLE,
    TOKEN,
    WORKER_ID,
)
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5
"""Seconds between two looks at a claim of another worker's: short at first, for most work is."""

CLOSING_SECONDS = 5.0
"""How long a worker that ends tries to leave nothing behind."""

Found = Mapping[str, Mapping[str, str]]
"""Names and labels of volumes."""


class Claims:
    """Takes claims, and gives them back.

    Nothing is created before the first claim. From then on a task in the background renews this process's
    presence and, while there are other workers, watches theirs and removes what is void.

    Args:
        engine: The Engine.
        settings: Namespace and id of the worker.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.namespace = settings.runner_namespace
        self.names = Names(self.namespace)
        self._engine = engine
        self._presence = Presence(engine, settings)
        self._census = Census()
        self._holdings = Holdings(engine, self.namespace, self._presence, self._census)
        self._appearing = asyncio.Lock()
        self._upkeep: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._watching_until = float("-inf")

    @property
    def instance(self) -> str:
        """Names this process among all workers, past and present."""
        return self._presence.instance

    # Taking and giving back

    async def try_take(
        self, name: str, kind: Kind, labels: Mapping[str, str] | None = None, *, on_loss: OnLoss | None = None
    ) -> Claim:
        """Take a claim unless somebody has it.

        Args:
            name: What is claimed, one of :attr:`names`.
            kind: What for.
            labels: What else others should know.
            on_loss: Called if others took this process for dead and the claim for void.

        Returns:
            The claim that has the name now: look at :attr:`Claim.mine`.

        Raises:
            Unavailable: If the Engine does not answer, or this worker is shutting down.
        """
        await self.appear()
        claim = await self._holdings.try_take(name, kind, labels, on_loss)
        if not claim.mine:
            self._watch()
        return claim

    async def take(
        self,
        name: str,
        kind: Kind,
        labels: Mapping[str, str] | None = None,
        *,
        on_loss: OnLoss | None = None,
        meanwhile: Callable[[Claim], Awaitable[None]] | None = None,
    ) -> Claim:
        """Take a claim as soon as nobody has it, or its owner is dead.

        Args:
            name: See :meth:`try_take`, as for ``kind``, ``labels``, ``on_loss`` and what is raised.
            meanwhile: Awaited with the claim that is in the way, again and again.
        """
        pauses = Pauses()
        while True:
            claim = await self.try_take(name, kind, labels, on_loss=on_loss)
            if claim.mine:
                return claim
            if not await self.remove_if_void(claim):
                if meanwhile is not None:
                    await meanwhile(claim)
                await pauses.next()

    @asynccontextmanager
    async def making(self) -> AsyncIterator[None]:
        """While the block runs, all workers know that something is being made that is no bot's.

        Raises:
            Unavailable: If the Engine does not answer, or this worker is shutting down.
        """
        claim = await self.take(self.names.making(secrets.token_hex(6)), Kind.MAKING)
        try:
            yield
        finally:
            self.release(claim)

    def holds(self, claim: Claim) -> bool:
        """Whether a claim of this process's is certainly still its own."""
        return self._holdings.has(claim) and self._presence.is_sure

    def is_own(self, claim: Claim) -> bool:
        """Whether a claim was made by this process."""
        return self._holdings.is_own(claim)

    def release(self, claim: Claim) -> None:
        """Give a claim back, in the background; if the Engine is away, as soon as it is there again."""
        self._holdings.release(claim)

    async def settled(self) -> None:
        """Wait until all that was given back is gone."""
        await self._holdings.settled()

    # Looking

    async def look(self) -> Sighting:
        """What there is on the Engine; claims of dead processes are removed on the way.

        Raises:
            Unavailable: If the Engine does not answer.
        """
        return await self._settle(await self._found())

    async def remove_if_void(self, claim: Claim) -> bool:
        """Remove another worker's claim if its owner is dead; returns whether it is gone."""
        await self._found()
        return self._holdings.is_void(claim) and await self._holdings.remove_void(claim)

    async def _found(self) -> dict[str, dict[str, str]]:
        all_volumes = await volumes.list_by_labels(self._engine, {NAMESPACE: self.namespace})
        found = {name: labels for name, labels in all_volumes.items() if labels.get(ROLE) != CACHE_ROLE}
        self._census.look(found)
        return found

    async def _settle(self, found: Found) -> Sighting:
        claims = []
        for name, labels in found.items():
            if labels.get(ROLE) == CLAIM_ROLE:
                claim = Claim.read(name, labels)
                if self._holdings.is_void(claim):
                    await self._holdings.remove_void(claim)
                elif not self._holdings.is_given_back(claim):
                    claims.append(claim)
        if any(labels.get(INSTANCE) != self._presence.instance for labels in found.values()):
            self._watch()
        requests = [labels[TOKEN] for labels in found.values() if labels.get(ROLE) == STOP_REQUEST_ROLE]
        return Sighting(claims, frozenset(requests))

    def _watch(self) -> None:
        self._watching_until = monotonic() + 2 * liveness.PRESENCE_SECONDS

    # In the background

    async def appear(self) -> None:
        """Be there, before the first claim is and whatever else goes by this process's presence.

        Raises:
            Unavailable: If the Engine does not answer, or this worker is shutting down.
        """
        if self._upkeep is None:
            # To its end: a presence that the Engine makes after all would be left behind.
            await asyncio.shield(asyncio.ensure_future(self._appear_once()))

    async def _appear_once(self) -> None:
        async with self._appearing:
            self._holdings.check_open()
            if self._upkeep is None:
                await self._presence.renew()
                await self._take_over()
                self._upkeep = asyncio.create_task(self._keep_up())

    async def _take_over(self) -> None:
        """Take the process that ran under this worker's id before for dead."""
        mine = self._presence
        former = {
            labels[INSTANCE]
            for labels in (await self._found()).values()
            if labels.get(WORKER_ID) == mine.worker_id and labels.get(INSTANCE, "") != mine.instance
        }
        if former:
            for instance in former:
                self._census.condemn(instance)
            await self._sweep()

    async def _keep_up(self) -> None:
        trouble = False
        while not await self._closed_within(liveness.renewal_seconds()):
            try:
                was_sure = self._presence.is_sure
                await self._presence.renew()
                await self._holdings.release_rest()
                if not was_sure:
                    # This process stood still, or the Engine was away: others may have taken its claims.
                    tokens = self._holdings.tokens()
                    self._holdings.find_losses(await self._found(), tokens)
                if monotonic() < self._watching_until:
                    await self._sweep()
                trouble = False
            except ENGINE_TROUBLE as error:
                # Once: the Engine may be away for long.
                level = logging.DEBUG if trouble else logging.WARNING
                logger.log(level, "the worker's presence could not be renewed: %s", error)
                trouble = True
            except Exception:
                logger.exception("the worker's presence could not be renewed")

    async def _closed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._closing.wait()
        except TimeoutError:
            return False

    async def _sweep(self) -> None:
        """Remove all that dead processes left, and requests that nobody can fulfil any more."""
        found = await self._found()
        sighting = await self._settle(found)
        tokens = {claim.token for claim in sighting.claims}
        for name, labels in found.items():
            role, instance = labels.get(ROLE), labels.get(INSTANCE, "")
            dead = role == PRESENCE_ROLE and self._census.is_dead(instance)
            if dead or (role == STOP_REQUEST_ROLE and labels.get(TOKEN) not in tokens):
                await volumes.remove(self._engine, name)

    async def close(self) -> None:
        """Give everything back and leave nothing on the Engine; if that is away, others will tidy up."""
        self._closing.set()
        try:
            async with asyncio.timeout(CLOSING_SECONDS), self._appearing:
                if self._upkeep is not None:
                    await asyncio.wait([self._upkeep])
                await self._holdings.close()
                await self._presence.end()
        except (*ENGINE_TROUBLE, TimeoutError) as error:
            logger.warning("this worker's claims are left to the others: %s", error)
        if self._upkeep is not None:
            self._upkeep.cancel()
        self._holdings.give_up()


class Pauses:
    """Growing pauses between two looks at what another worker does."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE

    async def next(self) -> None:
        """Pause."""
        await asyncio.sleep(self._seconds)
        self._seconds = min(self._seconds * 1.5, LONGEST_PAUSE)
