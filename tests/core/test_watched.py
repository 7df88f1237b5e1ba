"""Work under a watch: either may end it, and nothing goes on afterwards."""

import asyncio
from typing import Never

import pytest

from bot_runner_worker.aio import watched


async def never_alarmed() -> Never:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def alarmed() -> Never:
    await asyncio.sleep(0.01)
    raise RuntimeError("alarm")


class Work:
    """Work that notes how far it came."""

    def __init__(self) -> None:
        self.ended = False

    async def run(self, seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.sleep(0.01)
            self.ended = True
        return "done"


async def test_the_works_result_is_returned() -> None:
    assert await watched(Work().run(0), never_alarmed()) == "done"


async def test_the_works_error_is_raised() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await watched(broken(), never_alarmed())


async def test_an_alarm_ends_the_work_and_waits_for_its_end() -> None:
    work = Work()
    with pytest.raises(RuntimeError, match="alarm"):
        await watched(work.run(60), alarmed())
    assert work.ended


async def test_a_cancellation_ends_the_work_and_waits_for_its_end() -> None:
    work = Work()
    task = asyncio.create_task(watched(work.run(60), never_alarmed()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended
