"""Pauses that grow, calls a few at a time, and tasks that nobody awaits."""

import asyncio
from itertools import islice

import pytest

from bot_runner_worker.aio import BackgroundTasks, backoff, for_each, run_to_completion


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(backoff(1.0, 5.0), 5)) == [1.0, 2.0, 4.0, 5.0, 5.0]


async def test_calls_are_made_a_few_at_a_time_and_answered_in_order() -> None:
    under_way, most = 0, 0

    async def call(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001 * (5 - number))
        under_way -= 1
        return 2 * number

    assert await for_each(range(5), call, at_once=2) == [0, 2, 4, 6, 8]
    assert most == 2


async def test_a_call_that_fails_lets_the_others_end() -> None:
    ended: list[int] = []

    async def call(number: int) -> None:
        if number == 0:
            raise ValueError(number)
        await asyncio.sleep(0)
        ended.append(number)

    with pytest.raises(ValueError, match="0"):
        await for_each(range(3), call, at_once=3)
    assert ended == [1, 2]


async def test_background_tasks_are_waited_for_or_cancelled() -> None:
    tasks, ended = BackgroundTasks(), []

    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(seconds)

    tasks.start(work(0.01))
    await tasks.wait()
    assert ended == [0.01]
    hanging = tasks.start(work(60))
    await tasks.cancel()
    assert hanging.cancelled()
    await tasks.wait()


async def test_a_call_that_must_end_outlasts_every_cancellation() -> None:
    """A worker that loses its lease is cancelled once for that, and once as it ends."""
    begun, ended = asyncio.Event(), []

    async def call() -> None:
        begun.set()
        for _ in range(10):
            await asyncio.sleep(0)
        ended.append(True)
        raise ValueError

    task = asyncio.create_task(run_to_completion(call()))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended
