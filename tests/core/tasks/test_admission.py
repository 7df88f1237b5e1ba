"""Places and stops on the runner in memory: exact, however many tasks meet."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from tests.core.examples import BOT, answer

from bot_runner_worker.aio import Turn
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.testing.memory_runner import MemoryRunner, memory_runner

KEY = BotKey("alice", "bot")
SIMPLE = {"deployment_mode": "simple", "code": "pass"}


@pytest.fixture
async def runner() -> AsyncIterator[MemoryRunner]:
    """A runner in memory whose tenants may have three bots."""
    async with memory_runner(max_bots_per_user=3) as made:
        yield made


async def test_50_starts_at_once_of_each_of_two_tenants(runner: MemoryRunner) -> None:
    outcomes = await asyncio.gather(
        *(runner.start(user, f"bot-{n}", **SIMPLE) for n in range(50) for user in ("alice", "bob"))
    )
    assert Counter(map(answer, outcomes)) == {"started": 6, "QUOTA_EXCEEDED": 94}
    assert Counter(each.bot.user_id for each in await runner.runtime.list_bots()) == {"alice": 3, "bob": 3}
    assert runner.admission.busy() == set()
    assert runner.admission.starting("alice") == []


async def test_a_stop_ends_all_starts_that_were_there_before_it_and_none_after(runner: MemoryRunner) -> None:
    async with runner.admission.exclusively(KEY):
        before = [asyncio.create_task(runner.start(**SIMPLE)) for _ in range(3)]
        await asyncio.sleep(0.01)
        stop = asyncio.create_task(runner.task("stop_bot", **BOT))
        await asyncio.sleep(0.01)
        after = asyncio.create_task(runner.start(**SIMPLE))
        assert runner.admission.busy() == {KEY}
        assert runner.admission.at_work()
    assert [answer(await each) for each in before] == ["START_CANCELLED"] * 3
    assert (answer(await stop), answer(await after)) == ("stopped", "started")
    assert not runner.admission.at_work()


async def test_a_start_that_fails_or_is_cancelled_gives_its_place_back(runner: MemoryRunner) -> None:
    admission = runner.admission

    async def fail(_: Turn) -> None:
        await asyncio.sleep(0.01)
        raise ValueError

    for _ in range(3):
        bots = [BotKey("alice", f"bot-{n}") for n in range(3)]
        failing = [asyncio.create_task(admission.start(bot, fail, content="x")) for bot in bots]
        await asyncio.sleep(0.005)
        assert len(admission.starting("alice")) == 3
        failing[0].cancel()
        await asyncio.gather(*failing, return_exceptions=True)
    assert admission.starting("alice") == []


async def test_what_is_made_without_a_bot_is_work_too(runner: MemoryRunner) -> None:
    async with runner.admission.making():
        assert runner.admission.at_work()
        assert runner.admission.busy() == set()
    assert not runner.admission.at_work()
