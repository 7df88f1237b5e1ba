"""The claims of one process, each taken, given back and removed once, whatever is cancelled or fails."""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any
from uuid import uuid4

from bot_runner_worker.coordination.claim import Claim, Kind, OnLoss
from bot_runner_worker.coordination.liveness import Census, Presence
from bot_runner_worker.coordination.naming import Names
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, volumes
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import CLAIM_ROLE, INSTANCE, KIND, NAMESPACE, ROLE, TOKEN, WORKER_ID

logger = logging.getLogger(__name__)

_REMEMBERED = 256
"""Claims that were given back last: more than one process gives back while the Engine lists its volumes."""


class Holdings:
    """Takes single claims, and removes them.

    Args:
        engine: The Engine.
        namespace: ``RUNNER_NAMESPACE``.
        presence: This process's.
        census: What it sees of the others'.
    """

    def __init__(self, engine: Engine, namespace: str, presence: Presence, census: Census) -> None:
        self._engine = engine
        self._namespace = namespace
        self._names = Names(namespace)
        self._presence = presence
        self._census = census
        self._wanted: dict[str, asyncio.Task[dict[str, str]]] = {}
        self._held: dict[str, tuple[Claim, OnLoss | None]] = {}
        self._releasing: dict[str, asyncio.Task[None]] = {}
        self._unreleased: dict[str, Claim] = {}
        self._removed: deque[str] = deque(maxlen=_REMEMBERED)
        self._closed = False

    async def try_take(
        self, name: str, kind: Kind, labels: Mapping[str, str] | None = None, on_loss: OnLoss | None = None
    ) -> Claim:
        """See :meth:`bot_runner_worker.coordination.claims.Claims.try_take`."""
        if (pending := self._releasing.get(name)) is not None:
            await asyncio.wait([pending])
        if kind != Kind.VOID:
            self.check_open()
        wanted = Claim.read(name, self._labels(kind, labels), mine=True)
        creating = asyncio.create_task(volumes.create(self._engine, name, wanted.labels))
        self._wanted[wanted.token] = creating
        try:
            found = await asyncio.shield(creating)
        except BaseException as error:
            if kind == Kind.WORK and isinstance(error, EngineError) and error.disk_full:
                return await self._without_room(wanted, on_loss)
            # It may have been made all the same, or will be.
            self._in_background(name, self._remove_if_made(wanted, creating))
            raise
        finally:
            del self._wanted[wanted.token]
        if found.get(NAMESPACE) != self._namespace:
            raise Unavailable(
                Code.ENGINE_FAILED,
                "A volume on the Docker Engine has a name that the worker needs.",
                hint="This is for the operator: remove the volume.",
                details={"volume": name},
            )
        if found.get(TOKEN) != wanted.token:
            return Claim.read(name, found)
        self._held[wanted.token] = (wanted, on_loss)
        return wanted

    async def _without_room(self, wanted: Claim, on_loss: OnLoss | None) -> Claim:
        """Work on a bot goes on with a full disk: to end a bot may be what makes room.

        The claim stands on no volume then. Nor can another worker make one, as long as the disk stays full.
        """
        found = await volumes.labels_of(self._engine, wanted.name) or {}
        if TOKEN in found:
            return Claim.read(wanted.name, found)
        self._held[wanted.token] = (wanted, on_loss)
        return wanted

    def _labels(self, kind: Kind, labels: Mapping[str, str] | None) -> dict[str, str]:
        return {
            **(labels or {}),
            NAMESPACE: self._namespace,
            ROLE: CLAIM_ROLE,
            KIND: kind,
            TOKEN: uuid4().hex,
            WORKER_ID: self._presence.worker_id,
            INSTANCE: self._presence.instance,
        }

    def has(self, claim: Claim) -> bool:
        """Whether this process holds a claim, as far as it knows."""
        return claim.token in self._held

    def is_own(self, claim: Claim) -> bool:
        """Whether a claim was made by this process."""
        return claim.instance == self._presence.instance

    def is_given_back(self, claim: Claim) -> bool:
        """Whether a claim of this process's is being removed, or was since it was listed."""
        removed = claim.name in self._releasing or claim.token in self._removed
        return self.is_own(claim) and not self.has(claim) and removed

    def is_void(self, claim: Claim) -> bool:
        """Whether nobody holds a claim any more."""
        if not self.is_own(claim):
            return self._census.is_dead(claim.instance)
        # An own claim that is neither: the Engine was away when it was given back.
        return not (self.has(claim) or claim.token in self._wanted or self.is_given_back(claim))

    def release(self, claim: Claim) -> None:
        """Give a claim back, in the background; if the Engine is away, see :meth:`release_rest`."""
        if self._held.pop(claim.token, None) is not None:
            self._in_background(claim.name, self._remove(claim))

    async def release_rest(self) -> None:
        """Give back what could not be given back before."""
        for claim in list(self._unreleased.values()):
            if await self.remove_void(claim):
                del self._unreleased[claim.token]

    def check_open(self) -> None:
        """Raise :class:`Unavailable` if this worker is shutting down."""
        if self._closed:
            raise Unavailable(Code.INTERNAL_ERROR, "The worker is shutting down.", hint="Try again.")

    async def close(self) -> None:
        """Give back everything, that which is being taken right now as well, and take nothing more."""
        self._closed = True
        while self._wanted or self._held:
            if self._wanted:
                await asyncio.wait(list(self._wanted.values()))
                await asyncio.sleep(0)  # until those who wanted them hold them
            for claim, _ in list(self._held.values()):
                self.release(claim)
        await self.settled()
        await self.release_rest()
        await self.settled()

    async def settled(self) -> None:
        """Wait until all that was given back is gone."""
        while self._releasing:
            await asyncio.wait(list(self._releasing.values()))

    def give_up(self) -> None:
        """End what goes on in the background."""
        for task in self._releasing.values():
            task.cancel()

    async def remove_void(self, claim: Claim) -> bool:
        """Remove a claim that nobody holds any more; returns whether it is gone.

        Several workers may find out at once, and the name may be claimed anew as soon as one of them has
        removed it: without a claim on the removal, a late one would remove the new claim.
        """
        removal = await self.try_take(self._names.void(claim.token), Kind.VOID)
        if not removal.mine:
            # Another worker is at it; or was, and died, and this claim of its is void like any other.
            return False
        try:
            labels = await volumes.labels_of(self._engine, claim.name)
            if labels is not None and labels.get(TOKEN) == claim.token:
                await volumes.remove(self._engine, claim.name)
        finally:
            self.release(removal)
        return True

    def find_losses(self, found: Mapping[str, Mapping[str, str]], before: set[str]) -> None:
        """Tell those whose claims are not there any more.

        Args:
            found: Names and labels of all volumes.
            before: What :meth:`tokens` said before they were listed.
        """
        there = {labels.get(TOKEN) for labels in found.values()}
        for token in before - there:
            claim, on_loss = self._held.pop(token, (None, None))
            if claim is not None:
                logger.warning("%s was taken over: this worker did not show itself for too long", claim.name)
            if on_loss is not None:
                on_loss()

    def tokens(self) -> set[str]:
        """Tokens of what this process holds."""
        return set(self._held)

    def _in_background(self, name: str, removal: Coroutine[Any, Any, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if self._releasing.get(name) is task:
                del self._releasing[name]

        self._releasing[name] = task = asyncio.create_task(removal)
        # Not in the task itself: one that is cancelled before it has begun runs nothing.
        task.add_done_callback(ended)

    async def _remove(self, claim: Claim) -> None:
        try:
            # Two removals of one void claim do no harm: each looks at the token.
            if self._presence.is_sure or claim.kind == Kind.VOID:
                await volumes.remove(self._engine, claim.name)
                self._removed.append(claim.token)
            else:
                await self.remove_void(claim)
        except ENGINE_TROUBLE as error:
            logger.info("%s is given back later: %s", claim.name, error)
            self._unreleased[claim.token] = claim

    async def _remove_if_made(self, claim: Claim, creating: asyncio.Task[dict[str, str]]) -> None:
        await asyncio.wait([creating])
        if creating.exception() is None and creating.result().get(TOKEN) != claim.token:
            return
        try:
            await self.remove_void(claim)
        except ENGINE_TROUBLE:
            self._unreleased[claim.token] = claim
