"""A queue in front of what takes only a few at a time: one turn for each tenant, round and round.

More work in flight than an Engine can do at once only makes all of it take longer. Without turns, a tenant
with a hundred bots would make the next one wait for all of them.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairQueue:
    """Lets a few do their work at a time.

    Args:
        slots: How many.
        most_of_one: How many of one tenant at the most; by default as many as there are slots.
    """

    def __init__(self, slots: int, most_of_one: int | None = None) -> None:
        self._slots = slots
        self._most_of_one = most_of_one or slots
        self._at_work: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator["Turn"]:
        """Wait for a turn, and hold it while the block runs; whoever is cancelled leaves the queue.

        Args:
            tenant: Whose turn.
        """
        await self._take(tenant)
        turn = Turn(self, tenant)
        try:
            yield turn
        finally:
            if not turn.is_given_back:
                self._give_back(tenant)

    async def _take(self, tenant: str, *, first: bool = False) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._waiting.setdefault(tenant, deque())
        line.appendleft(ready) if first else line.append(ready)
        if first:
            self._waiting.move_to_end(tenant, last=False)
        self._call_next()
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                self._give_back(tenant)
            else:
                self._leave(tenant, ready)
            raise

    def _leave(self, tenant: str, ready: asyncio.Future[None]) -> None:
        line = self._waiting.get(tenant)
        if line is not None and ready in line:
            line.remove(ready)
            if not line:
                del self._waiting[tenant]

    def _give_back(self, tenant: str) -> None:
        self._at_work[tenant] -= 1
        if not self._at_work[tenant]:
            del self._at_work[tenant]
        self._call_next()

    def _call_next(self) -> None:
        while self._at_work.total() < self._slots:
            tenant = next((each for each in self._waiting if self._at_work[each] < self._most_of_one), None)
            if tenant is None:
                return
            line = self._waiting[tenant]
            ready = line.popleft()
            if line:
                self._waiting.move_to_end(tenant)
            else:
                del self._waiting[tenant]
            self._at_work[tenant] += 1
            ready.set_result(None)


class Turn:
    """A turn that is held.

    Args:
        queue: Where it was taken.
        tenant: Whose it is.
    """

    def __init__(self, queue: FairQueue, tenant: str) -> None:
        self._queue = queue
        self._tenant = tenant
        self.is_given_back = False

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Let others work while the block waits for something, and go on before those who have not begun."""
        self._queue._give_back(self._tenant)
        self.is_given_back = True
        try:
            yield
        finally:
            await self._queue._take(self._tenant, first=True)
            self.is_given_back = False
