"""Work in threads: it ends in time, and with the task that wanted it."""

import asyncio
import io
import time

import pytest
from tests.core.projects.trees import deadline

from bot_runner_worker.errors import Rejected
from bot_runner_worker.projects import in_thread


async def test_the_event_loop_goes_on_meanwhile() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        ticks += 1

    assert await in_thread(lambda: time.sleep(2.2) or 42, deadline(), tick) == 42
    assert ticks == 2


async def test_work_that_takes_too_long_is_rejected() -> None:
    limit = deadline(0.1)

    def work() -> None:
        while True:
            limit.check()

    with pytest.raises(Rejected) as caught:
        await in_thread(work, limit)
    assert caught.value.code == "TOO_SLOW"


async def test_a_cancelled_task_leaves_no_work_and_no_file_behind() -> None:
    limit = deadline()
    made = io.BytesIO()
    running = True

    def work() -> io.BytesIO:
        nonlocal running
        try:
            while True:
                limit.check()
        except Rejected:
            running = False
            return made

    begun = time.monotonic()
    task = asyncio.create_task(in_thread(work, limit))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 5
    assert not running
    assert made.closed
