"""Work in threads: it ends in time, and with the task that wanted it."""

import asyncio
import io
import threading

import pytest
from tests.core.projects.trees import deadline

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects import in_thread
from bot_runner_worker.testing.waiting import until


async def test_the_event_loop_goes_on_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot_runner_worker.projects.deadline._TICK", 0.02)
    ticked = threading.Event()

    async def tick() -> None:
        ticked.set()

    assert await in_thread(lambda: ticked.wait(30), deadline(), tick)


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
    begun, ended = threading.Event(), threading.Event()

    def work() -> io.BytesIO:
        begun.set()
        try:
            while True:
                limit.check()
        except Rejected:
            ended.set()
            return made

    task = asyncio.create_task(in_thread(work, limit))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    assert made.closed
