"""Patterns of asynchronous work: backoff, background tasks, queues, interruptions."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Never, Self, TypeVar

from bot_runner_worker.model.errors import BotRunnerError

Argument = TypeVar("Argument")
Result = TypeVar("Result")


async def run_to_completion(call: Coroutine[Any, Any, Result]) -> Result:
    """Await a call to its end, and only then let cancellations through, however many.

    The Engine goes on creating and starting whether anybody listens or not; undoing it meanwhile would race.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await outlast(task)
        raise


async def outlast(task: asyncio.Future[Any]) -> None:
    """Wait until a task has ended, however it does, and however often this is cancelled meanwhile."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # or asyncio complains that nobody has asked for it


def backoff(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds: each is twice as long as the last, up to the longest."""
    while True:
        yield first
        first = min(2 * first, longest)


async def for_each(
    arguments: Iterable[Argument], call: Callable[[Argument], Awaitable[Result]], *, at_once: int
) -> list[Result]:
    """Call with each argument, a few at a time.

    Returns the results in the order of the arguments. If calls fail, the first of their errors is raised when
    all calls have ended.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(argument: Argument) -> Result:
        async with slots:
            return await call(argument)

    results: list[Result] = []
    for result in await asyncio.gather(*map(one, arguments), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


class BackgroundTasks:
    """Keeps tasks that nobody awaits until they end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task; it logs its own failures."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait(self) -> None:
        """Wait until all tasks have ended, also those that start meanwhile."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in set(self._tasks):
            task.cancel()
        await self.wait()


async def watched(work: Coroutine[Any, Any, Result], watch: Coroutine[Any, Any, Never]) -> Result:
    """Do the work while the watch looks on; what the watch raises ends the work.

    Returns only when both have ended, cancelled or not.
    """
    tasks = (asyncio.create_task(work), asyncio.create_task(watch))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1].done() and not tasks[0].done():
            tasks[1].result()
        return await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Interruption:
    """A context manager whose block another task can end.

    The task is cancelled, so that the block tidies up as for any cancellation, and the error takes the place
    of the :class:`asyncio.CancelledError`. A cancellation by anybody else goes through as it is.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._error: BotRunnerError | None = None

    @property
    def error(self) -> BotRunnerError | None:
        """What the block was told to end with, if it was."""
        return self._error

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._before = self._task.cancelling()
        return self

    def interrupt(self, error: BotRunnerError) -> None:
        """End the block with this error. Only the first call counts, and none after the end."""
        if self._task is not None and self._error is None:
            self._error = error
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._error is None or task is None:
            return
        only_ours = task.uncancel() <= self._before
        if only_ours and isinstance(error, asyncio.CancelledError):
            raise self._error from error


class DutyCycle:
    """Says when to look again.

    Args:
        interval: Shortest time between the ends of two looks, in seconds.
        share: Part of all time that looking may take: after a long look comes a long pause.
    """

    def __init__(self, interval: float, share: float) -> None:
        self._interval = interval
        self._share = share
        self._ended = float("-inf")
        self._took = 0.0

    def is_due(self, share: float | None = None) -> bool:
        """Whether it is time to look.

        Args:
            share: For a look out of turn: no interval, and another part of the time.
        """
        pause = self._took / (share or self._share)
        return monotonic() - self._ended >= (pause if share else max(self._interval, pause))

    def looked(self, seconds: float) -> None:
        """Note that a look has ended.

        Args:
            seconds: How long it took.
        """
        self._ended = monotonic()
        self._took = seconds


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
        """Wait for a turn, and hold it while the block runs.

        Args:
            tenant: Whose turn.
        """
        await self._take(tenant)
        turn = Turn(self, tenant)
        try:
            yield turn
        finally:
            turn.end()

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
    """A turn that is held, until it ends.

    Args:
        queue: Where it was taken.
        tenant: Whose it is.
    """

    def __init__(self, queue: FairQueue, tenant: str) -> None:
        self._queue = queue
        self._tenant = tenant
        self._held = True
        self._lent = 0
        self._over = False
        self._taking = asyncio.Lock()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Let others work while the block waits; then go on before those who wait.

        Blocks may overlap. One that fails or is cancelled does not wait for a turn again: what is left to do
        is tidying up.
        """
        self._lent += 1
        self._give_back()
        try:
            yield
        finally:
            self._lent -= 1
        async with self._taking:
            # Whoever was left behind, and comes back when the turn is over, gets none.
            if not (self._held or self._lent or self._over):
                await self._queue._take(self._tenant, first=True)
                self._held = True
                if self._over:
                    self._give_back()

    def end(self) -> None:
        """Give the turn back for good."""
        self._over = True
        self._give_back()

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._queue._give_back(self._tenant)
