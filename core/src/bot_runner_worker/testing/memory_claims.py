"""Claims of one worker that has its Engine for itself: in memory, as exact as on the Engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from uuid import uuid4

from bot_runner_worker.coordination.claim import Claim, Kind, OnLoss, Sighting
from bot_runner_worker.coordination.naming import Names
from bot_runner_worker.coordination.stop_requests import Asking


class MemoryClaims:
    """Stands for :class:`bot_runner_worker.coordination.claims.Claims`.

    Args:
        namespace: The runner's.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.names = Names(namespace)
        self._held: dict[str, Claim] = {}

    @property
    def held(self) -> list[str]:
        """Kinds and names of what is claimed."""
        return [f"{claim.kind}: {name}" for name, claim in self._held.items()]

    async def try_take(
        self, name: str, kind: Kind, labels: Mapping[str, str] | None = None, *, on_loss: OnLoss | None = None
    ) -> Claim:
        """Take a claim unless somebody has it."""
        await asyncio.sleep(0)
        if name in self._held:
            return self._held[name]
        token = uuid4().hex
        self._held[name] = Claim(name, kind, token, "memory", False, dict(labels or {}))
        return Claim(name, kind, token, "memory", True, dict(labels or {}))

    async def take(
        self,
        name: str,
        kind: Kind,
        labels: Mapping[str, str] | None = None,
        *,
        on_loss: OnLoss | None = None,
        meanwhile: Callable[[Claim], Awaitable[None]] | None = None,
    ) -> Claim:
        """Take a claim as soon as nobody has it."""
        while not (claim := await self.try_take(name, kind, labels)).mine:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return claim

    def release(self, claim: Claim) -> None:
        """Give a claim back."""
        if (held := self._held.get(claim.name)) is not None and held.token == claim.token:
            del self._held[claim.name]

    def is_own(self, claim: Claim) -> bool:
        """Whether it was made by this process: all are."""
        return True

    async def look(self) -> Sighting:
        """What is claimed."""
        await asyncio.sleep(0)
        return Sighting(list(self._held.values()), frozenset())

    async def settled(self) -> None:
        """What was given back is gone at once."""


class MemoryStopRequests:
    """Stands for :class:`bot_runner_worker.coordination.stop_requests.StopRequests`: nobody else is there."""

    @contextmanager
    def heard(self, start: Claim, end: Callable[[], None]) -> Iterator[None]:
        """Nobody asks."""
        yield

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Asking]:
        """Nobody is asked."""

        async def nobody(_start: Claim) -> None:
            """There is no other worker."""

        yield Asking(nobody)


class MemoryCoordination:
    """Stands for :class:`bot_runner_worker.coordination.Coordination`."""

    def __init__(self, namespace: str) -> None:
        self.claims = MemoryClaims(namespace)
        self.stop_requests = MemoryStopRequests()
