"""Who watches, and what happens to a bot that somebody is working on at that moment."""

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import status

from bot_runner_worker.bots import limits_watch
from bot_runner_worker.bots.limits_watch import LimitViolation
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.spec import EndReason

BOT = BotKey("alice", "bot")


async def violation_of(runner: RunnerUnderTest, container: str = "") -> LimitViolation:
    return LimitViolation(BOT, container or (await status(runner))["container_id"], EndReason.DISK_LIMIT)


@pytest.mark.slow
async def test_a_bot_is_ended_although_somebody_works_on_it_for_long(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_watch, "HOLD_TIMEOUT", 0.2)
    runner = await make_runner()
    await runner.start()
    async with runner.runner.admission.exclusively(BOT):
        await runner.runner.limits_watch.end(await violation_of(runner))
    assert (await status(runner))["status"] == "stopped"


@pytest.mark.slow
async def test_a_bot_that_was_replaced_meanwhile_is_left_alone(runner: RunnerUnderTest) -> None:
    await runner.start()
    await runner.runner.limits_watch.end(await violation_of(runner, "the container before"))
    assert (await status(runner))["status"] == "running"
