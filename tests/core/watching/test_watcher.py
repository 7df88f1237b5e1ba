"""Who watches, and what happens to a bot that somebody is working on at that moment."""

import asyncio

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.watching.watched import PATIENCE, until, watched

from bot_runner_worker.identity import BotKey
from bot_runner_worker.runtime.verdicts import Verdict
from bot_runner_worker.watching import watcher
from bot_runner_worker.watching.disk_use import DiskUseWatch
from bot_runner_worker.watching.excess import Excess

pytestmark = pytest.mark.engine

BOT = BotKey("alice", "bot")


async def excess_of(runner: RunnerUnderTest, container: str = "") -> Excess:
    status = (await runner.task("check_status", user_id="alice", bot_id="bot")).data
    return Excess(BOT, container or status["container_id"], Verdict.DISK_LIMIT)


async def test_a_bot_is_ended_although_somebody_works_on_it_for_long(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PATIENCE", 0.2)
    runner = await make_runner()
    await runner.start()
    async with asyncio.timeout(PATIENCE), runner.runner.admission.exclusively(BOT):
        await runner.runner.watcher.end(await excess_of(runner))
    status = (await runner.task("check_status", user_id="alice", bot_id="bot")).data
    assert status["status"] == "stopped"


async def test_a_bot_that_was_replaced_meanwhile_is_left_alone(runner: RunnerUnderTest) -> None:
    await runner.start()
    await runner.runner.watcher.end(await excess_of(runner, "the container before"))
    status = (await runner.task("check_status", user_id="alice", bot_id="bot")).data
    assert status["status"] == "running"


async def test_of_several_workers_only_one_watches_until_it_ends(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: set[int] = set()

    async def look(self: DiskUseWatch, _on_excess: object) -> None:
        looked.add(id(self))

    monkeypatch.setattr(DiskUseWatch, "look", look)
    monkeypatch.setattr(watcher, "TICK", 0.05)
    monkeypatch.setattr(watcher, "_ASK_AGAIN", 0.1)
    one = await make_runner()
    two = await make_runner(
        runner_namespace=one.settings.runner_namespace, docker_network=one.settings.docker_network
    )

    async def somebody_looked() -> bool:
        return bool(looked)

    async with watched(one):
        await until(somebody_looked)
        async with watched(two):
            for _ in range(10):
                await asyncio.sleep(0.1)
                assert len(looked) == 1

            # Whoever asks first gets it: until it is the other one, the first lets go again.
            async def taken_over() -> bool:
                one.runner.coordination.leadership.release()
                return len(looked) == 2

            await until(taken_over)
