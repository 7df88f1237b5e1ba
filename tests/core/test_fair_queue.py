"""A few at a time, one tenant after the other."""

import asyncio
from collections import Counter

import pytest

from bot_runner_worker.aio import FairQueue, Turn


class Work:
    """Pieces of work that go through a queue, each until it is told to end."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self.begun: list[str] = []
        self.at_work: Counter[str] = Counter()
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def post(self, tenant: str, number: int = 0) -> str:
        name = f"{tenant}{number}"
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._do(tenant, name))
        return name

    async def _do(self, tenant: str, name: str) -> None:
        async with self._queue.turn(tenant):
            self.begun.append(name)
            self.at_work[tenant] += 1
            try:
                await self._ends[name].wait()
            finally:
                self.at_work[tenant] -= 1

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await asyncio.wait([self.tasks[name]])
        await asyncio.sleep(0)


async def test_a_few_at_a_time() -> None:
    work = Work(FairQueue(2))
    names = [work.post("a", number) for number in range(5)]
    await asyncio.sleep(0)
    assert work.begun == names[:2]
    await work.end(names[0])
    assert work.begun == names[:3]


async def test_the_next_tenant_does_not_wait_for_all_of_the_first() -> None:
    work = Work(FairQueue(2))
    names = [work.post("a", number) for number in range(100)]
    await asyncio.sleep(0)
    late = work.post("b")
    await asyncio.sleep(0)
    await work.end(names[0])
    await work.end(names[1])
    assert late in work.begun[:4]


async def test_one_tenant_cannot_take_all_slots() -> None:
    work = Work(FairQueue(4, most_of_one=2))
    for number in range(4):
        work.post("a", number)
    work.post("b")
    await asyncio.sleep(0)
    assert work.at_work == {"a": 2, "b": 1}


async def test_whoever_is_cancelled_leaves_the_queue() -> None:
    queue = FairQueue(1)
    work = Work(queue)
    first, second, third = (work.post("a", number) for number in range(3))
    await asyncio.sleep(0)
    work.tasks[second].cancel()
    await asyncio.sleep(0)
    assert queue.waiting == 1
    work.tasks[first].cancel()
    await asyncio.wait([work.tasks[first]])
    await asyncio.sleep(0)
    assert work.begun == [first, third]
    await work.end(third)
    assert queue.waiting == 0


async def test_a_cancellation_in_the_moment_of_the_call_loses_no_slot() -> None:
    work = Work(FairQueue(1))
    first, second, third = (work.post("a", number) for number in range(3))
    await asyncio.sleep(0)
    work._ends[first].set()
    await asyncio.sleep(0)  # the first gives its slot to the second,
    work.tasks[second].cancel()  # which is cancelled before it knows
    for _ in range(3):
        await asyncio.sleep(0)
    assert work.begun[-1] == third


async def test_what_waits_for_something_else_lends_its_turn_and_goes_on_first() -> None:
    queue = FairQueue(1)
    order = []
    waits = asyncio.Event()

    async def lends() -> None:
        async with queue.turn("a") as turn:
            order.append("a begins")
            async with turn.lent():
                await waits.wait()
            order.append("a goes on")

    async def other(name: str) -> None:
        async with queue.turn(name):
            order.append(name)
            waits.set()
            await asyncio.sleep(0)

    await asyncio.gather(lends(), other("b"), other("c"))
    assert order == ["a begins", "b", "a goes on", "c"]


async def test_who_is_cancelled_while_the_turn_is_lent_waits_for_none() -> None:
    queue = FairQueue(1)

    async def lends() -> None:
        async with queue.turn("a") as turn, turn.lent():
            await asyncio.sleep(3600)

    lending = asyncio.create_task(lends())
    await asyncio.sleep(0)
    async with queue.turn("b"):
        await asyncio.sleep(0)
        lending.cancel()
        await asyncio.wait([lending])
    async with queue.turn("c"):
        assert queue.waiting == 0


async def test_a_turn_that_is_lent_twice_at_once_is_one_turn() -> None:
    queue = FairQueue(1)
    work = Work(queue)

    async def lend(turn: Turn, end: asyncio.Event) -> None:
        async with turn.lent():
            await end.wait()

    first, second = asyncio.Event(), asyncio.Event()
    async with queue.turn("a") as turn:
        lending = [asyncio.create_task(lend(turn, end)) for end in (first, second)]
        await asyncio.sleep(0)
        others = [work.post("b", number) for number in range(2)]
        await asyncio.sleep(0)
        assert work.at_work == {"b": 1}
        first.set()
        await asyncio.wait([lending[0]])
        second.set()
        await work.end(others[0])
        await asyncio.wait(lending)
        assert work.at_work["b"] == 0
        late = asyncio.create_task(lend(turn, second))
    # Whoever comes back after the turn's end keeps nothing.
    await late
    await work.end(others[1])
    async with queue.turn("c"):
        assert queue.waiting == 0


async def test_an_error_gives_the_slot_back() -> None:
    queue = FairQueue(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            async with queue.turn("a"):
                raise ValueError("no")
