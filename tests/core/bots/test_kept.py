"""What is kept of bots that have ended: so many, and of such a size, for each tenant; the oldest go first."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.core.bots.conftest import MakeSupervised, Supervised
from tests.core.bots.test_policy import NOW, container
from tests.core.examples import answer, logs_with

from bot_runner_worker.bots.container_state import ContainerState
from bot_runner_worker.bots.kept import KeptBots
from bot_runner_worker.model.events import EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.spec import EndReason
from bot_runner_worker.settings import Settings

MIB = 1024 * 1024

WRITES = "import time\nopen('/tmp/file', 'wb').write(bytes(8 << 20))\nprint('written')\ntime.sleep(3600)\n"


def ended(bot_id: str, *, hours_ago: int, size: int = 0, user_id: str = "user") -> ContainerState:
    found = container(
        "exited", id=bot_id, end_reason=EndReason.STOPPED, finished_at=NOW - timedelta(hours=hours_ago)
    )
    return replace(found, record=replace(found.record, bot=BotKey(user_id, bot_id)), disk_bytes=size)


def beyond(kept: KeptBots, *bots: ContainerState) -> list[str]:
    for record in kept.look(bots):
        kept.note(next(each for each in bots if each.record == record))
    assert kept.look(bots) == [], "each is measured once"
    return [each.record.bot.bot_id for each in bots if kept.is_surplus(each.record)]


def kept_bots(number: int = 10, size: int = 100) -> KeptBots:
    settings = Settings.load(worker_token="x", max_kept_bots_per_user=number, max_kept_bots_size=size)
    return KeptBots(settings)


def test_the_oldest_of_too_many_go() -> None:
    kept = kept_bots(number=2)
    bots = [
        ended("c", hours_ago=3),
        ended("a", hours_ago=1),
        ended("d", hours_ago=4),
        ended("b", hours_ago=2),
    ]
    assert beyond(kept, *bots) == ["c", "d"]
    assert beyond(kept, *bots[:2]) == []


def test_the_oldest_of_too_large_ones_go() -> None:
    kept = kept_bots(size=100)
    bots = [ended(each, hours_ago=age, size=40) for age, each in enumerate("abc")]
    assert beyond(kept, *bots) == ["c"]
    # A single one that is too large as well.
    assert beyond(kept, ended("large", hours_ago=0, size=101), *bots[1:]) == ["large", "b", "c"]


def test_each_tenant_has_limits_of_its_own() -> None:
    bots = [ended("a", hours_ago=1, size=60), ended("b", hours_ago=2, size=60, user_id="other")]
    assert beyond(kept_bots(number=1), *bots) == []


def test_one_that_was_started_again_is_not_meant_any_more() -> None:
    kept = kept_bots(number=0)
    old = ended("a", hours_ago=2)
    assert beyond(kept, old) == ["a"]
    assert not kept.is_surplus(replace(old.record, finished_at=NOW))


async def stopped(runner: Supervised, *bots: str) -> None:
    for bot_id in bots:
        await runner.start(bot_id=bot_id)
        assert answer(await runner.task("stop_bot", user_id="alice", bot_id=bot_id)) == "stopped"


def removed(runner: Supervised) -> list[tuple[str, object]]:
    return [
        (each.bot.bot_id, each.details["reason"]) for each in runner.heard if each.type is EventType.REMOVED
    ]


@pytest.mark.engine
async def test_only_so_many_stopped_bots_are_kept_and_none_that_runs(make_supervised: MakeSupervised) -> None:
    runner = await make_supervised(
        max_kept_bots_per_user=2, max_bots_per_user=5, stop_grace_seconds=0, crash_limit=1000
    )
    await runner.start(bot_id="running")
    await runner.start(bot_id="failing", deployment_mode="simple", code="raise SystemExit(1)")
    await stopped(runner, "one", "two", "three")
    await runner.supervisor.check()
    assert removed(runner) == [("one", "kept_bots_limit")]
    assert (await runner.status("one"))["exists"] is False
    # It is brought back after each failure, and is none of those.
    assert (await runner.status("failing"))["status"] in ("running", "restarting")
    assert (await runner.status("running"))["status"] == "running"
    # One that runs again is none of them any more, whatever was found before.
    await runner.task("restart_bot", user_id="alice", bot_id="two")
    await stopped(runner, "four")
    await runner.supervisor.check()
    assert removed(runner) == [("one", "kept_bots_limit")]
    await runner.task("stop_bot", user_id="alice", bot_id="two")
    await runner.supervisor.check()
    assert removed(runner)[1:] == [("three", "kept_bots_limit")]


@pytest.mark.engine
async def test_what_stopped_bots_have_written_counts(make_supervised: MakeSupervised) -> None:
    runner = await make_supervised(max_kept_bots_size=12 * MIB, stop_grace_seconds=0)
    await stopped(runner, "small")
    for bot_id in ("old", "new"):
        await runner.start(bot_id=bot_id, deployment_mode="simple", code=WRITES)
        await logs_with(runner, "written", bot_id=bot_id)
        await runner.task("stop_bot", user_id="alice", bot_id=bot_id)
    for _ in range(2):  # measured, and removed
        await runner.supervisor.check()
    assert sorted(removed(runner)) == [("old", "kept_bots_limit"), ("small", "kept_bots_limit")]
    assert (await runner.status("new"))["status"] == "stopped"
