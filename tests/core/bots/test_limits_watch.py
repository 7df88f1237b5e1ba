"""Who watches, and what happens to a bot that somebody is working on at that moment."""

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.bots.watched import watched
from tests.core.examples import status

from bot_runner_worker.bots import limits_watch as watcher
from bot_runner_worker.bots.disk_watch import DiskUseWatch
from bot_runner_worker.bots.limit_violation import LimitViolation
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.testing.waiting import stays, until

BOT = BotKey("alice", "bot")


async def excess_of(runner: RunnerUnderTest, container: str = "") -> LimitViolation:
    return LimitViolation(BOT, container or (await status(runner))["container_id"], EndReason.DISK_LIMIT)


@pytest.mark.slow
async def test_a_bot_is_ended_although_somebody_works_on_it_for_long(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "PATIENCE", 0.2)
    runner = await make_runner()
    await runner.start()
    async with runner.runner.admission.exclusively(BOT):
        await runner.runner.watcher.end(await excess_of(runner))
    assert (await status(runner))["status"] == "stopped"


@pytest.mark.slow
async def test_a_bot_that_was_replaced_meanwhile_is_left_alone(runner: RunnerUnderTest) -> None:
    await runner.start()
    await runner.runner.watcher.end(await excess_of(runner, "the container before"))
    assert (await status(runner))["status"] == "running"


@pytest.mark.slow
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

    async with watched(one):
        await until(lambda: looked, 30, "somebody looks")
        async with watched(two):
            await stays(lambda: len(looked) == 1, 1)

            # Whoever asks first gets it: until it is the other one, the first lets go again.
            def taken_over() -> bool:
                one.runner.coordination.leadership.release()
                return len(looked) == 2

            await until(taken_over, 60)
