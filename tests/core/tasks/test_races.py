"""Tasks about one bot that meet in one worker: one effect, a clear answer, nothing left over."""

import asyncio
from collections import Counter

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import BOT, answer, status
from tests.core.tasks.slow_starts import SlowStart, build_step, slow_build, slow_step

from bot_runner_worker.bots.container_state import Inspector
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.testing.waiting import until


@pytest.mark.engine
async def test_a_stop_ends_a_build(runner: RunnerUnderTest) -> None:
    start = await SlowStart.building(runner)
    stopped = await runner.task("stop_bot", **BOT)
    assert stopped.data["status"] == "stopped"
    error = await start.error()
    assert (error["code"], error["stage"]) == ("START_CANCELLED", "start")
    assert "stopped while it was being started" in error["message"]
    assert error["hint"]
    assert await runner.leftovers() == []
    assert not (await status(runner))["exists"]
    assert (await runner.task("stop_bot", **BOT)).data["status"] == "not_found"
    assert (await runner.start()).data["status"] == "started"


@pytest.mark.slow
async def test_two_stops_at_once_end_one_build(runner: RunnerUnderTest) -> None:
    start = await SlowStart.building(runner)
    stops = await asyncio.gather(*(runner.task("stop_bot", **BOT) for _ in range(2)))
    assert [each.data["status"] for each in stops] == ["stopped", "stopped"]
    assert (await start.error())["code"] == "START_CANCELLED"
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_a_stop_ends_the_starts_that_wait_as_well(runner: RunnerUnderTest) -> None:
    start = await SlowStart.building(runner)
    waiting = [asyncio.create_task(runner.start()) for _ in range(3)]
    restart = asyncio.create_task(runner.task("restart_bot", **BOT))
    starts = runner.runner.admission._requested
    await until(lambda: len(starts[BotKey("alice", "bot")]) == 5, 30, "all of them wait")
    assert answer(await runner.task("stop_bot", **BOT)) == "stopped"
    assert [answer(each) for each in await asyncio.gather(*waiting, restart)] == ["START_CANCELLED"] * 4
    assert (await start.error())["code"] == "START_CANCELLED"
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_stop_start_stop(runner: RunnerUnderTest) -> None:
    start = await SlowStart.building(runner)
    first_stop = asyncio.create_task(runner.task("stop_bot", **BOT))
    await asyncio.sleep(0)
    second_start = asyncio.create_task(runner.start())
    await asyncio.sleep(0)
    second_stop = asyncio.create_task(runner.task("stop_bot", **BOT))
    answers = [answer(each) for each in await asyncio.gather(first_stop, second_start, second_stop)]
    assert answers == ["stopped", "START_CANCELLED", "stopped"]
    assert (await start.error())["code"] == "START_CANCELLED"
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_a_start_after_a_stop_runs(runner: RunnerUnderTest) -> None:
    start = await SlowStart.building(runner)
    stop = asyncio.create_task(runner.task("stop_bot", **BOT))
    await asyncio.sleep(0)
    again = await runner.start()
    assert (answer(await stop), answer(again)) == ("stopped", "started")
    assert (await start.error())["code"] == "START_CANCELLED"
    assert (await status(runner))["status"] == "running"


@pytest.mark.slow
async def test_a_stop_while_replacing_stops_the_old_bot_too(runner: RunnerUnderTest) -> None:
    old = await runner.start()
    start = await SlowStart.building(runner, replace=True)
    # The old one goes on running while the new one is being built.
    assert (await status(runner))["status"] == "running"
    stopped = await runner.task("stop_bot", **BOT)
    assert stopped.data["status"] == "stopped"
    assert (await start.error())["code"] == "START_CANCELLED"
    found = await status(runner)
    assert (found["status"], found["container_id"]) == ("stopped", old.data["container_id"])
    assert len(await runner.containers()) == 1
    assert not await build_step(runner)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["create", "put_files", "rename", "start", "remove"])
async def test_a_stop_in_the_middle_of_a_replacement_leaves_nothing_running(
    runner: RunnerUnderTest, step: str
) -> None:
    """Whatever the Engine is doing at that moment; the bot ends stopped, and there is one container of it."""
    await runner.start()
    async with slow_step(step) as reached:
        start = asyncio.create_task(runner.start(env_vars={"A": "2"}, replace=True))
        await reached.wait()
        assert answer(await runner.task("stop_bot", **BOT)) == "stopped"
        assert answer(await start) in ("START_CANCELLED", "started")
    assert (await status(runner))["status"] == "stopped"
    assert len(await runner.containers()) == 1
    assert runner.runner.admission.busy() == set()


@pytest.mark.slow
async def test_a_stop_at_the_very_end_of_a_start(runner: RunnerUnderTest) -> None:
    """The container runs already, but the start has not answered: it is taken back all the same."""
    async with slow_step("record", Inspector, seconds=2) as reached:
        start = asyncio.create_task(runner.start())
        await reached.wait()
        stop = asyncio.create_task(runner.task("stop_bot", **BOT))
        assert answer(await start) == "START_CANCELLED"
        assert answer(await stop) == "stopped"
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_a_start_that_is_stopped_and_cancelled_at_once_is_cancelled(runner: RunnerUnderTest) -> None:
    start = await SlowStart.building(runner)
    stop = asyncio.create_task(runner.task("stop_bot", **BOT))
    await asyncio.sleep(0)
    start.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start.task
    assert answer(await stop) == "stopped"
    assert await runner.leftovers() == []


@pytest.mark.slow
async def test_a_restart_waits_for_the_start(runner: RunnerUnderTest) -> None:
    async with slow_step("start") as reached:
        start = asyncio.create_task(runner.start())
        await reached.wait()
        restarted = await runner.task("restart_bot", **BOT)
    assert restarted.data["container_id"] == (await start).data["container_id"]
    assert (await status(runner))["status"] == "running"
    assert len(await runner.containers()) == 1


@pytest.mark.parametrize(
    "replace",
    [pytest.param(False, marks=pytest.mark.engine), pytest.param(True, marks=pytest.mark.slow)],
)
async def test_the_same_start_delivered_together_is_one_start(runner: RunnerUnderTest, replace: bool) -> None:
    started = await asyncio.gather(*(runner.start(replace=replace) for _ in range(6)))
    assert Counter(map(answer, started)) == {"started": 1, "already_running": 5}
    assert len({each.data["container_id"] for each in started}) == 1
    assert len(await runner.containers()) == 1


@pytest.mark.slow
async def test_of_replacements_at_once_the_first_and_the_last_are_made(runner: RunnerUnderTest) -> None:
    await runner.start()
    replaced = await asyncio.gather(
        *(runner.start(env_vars={"A": str(number)}, replace=True) for number in range(4))
    )
    assert [answer(each) for each in replaced] == ["started", "SUPERSEDED", "SUPERSEDED", "started"]
    assert (await status(runner))["container_id"] == replaced[-1].data["container_id"]
    assert len(await runner.containers()) == 1


@pytest.mark.slow
async def test_a_start_under_way_is_listed_as_starting(runner: RunnerUnderTest) -> None:
    await runner.start(bot_id="another")
    start = await SlowStart.building(runner)
    found = await status(runner)
    assert found["exists"]
    assert (found["status"], found["mode"]) == ("starting", "custom")
    assert (found["container_id"], found["container_name"], found["expires_at"]) == ("", "", "")
    assert found["started_at"].endswith("Z")
    listed = (await runner.task("list_bots", user_id="alice")).data
    assert {row["bot_id"]: row["status"] for row in listed["bots"]} == {
        "another": "running",
        "bot": "starting",
    }
    assert listed["count"] == 2
    assert (await runner.task("list_bots", user_id="bob")).data["bots"] == []

    await runner.task("stop_bot", **BOT)
    await start.error()
    listed = (await runner.task("list_bots", user_id="alice")).data
    assert [row["bot_id"] for row in listed["bots"]] == ["another"]


@pytest.mark.slow
async def test_a_stopped_bot_that_is_started_again_is_listed_once(runner: RunnerUnderTest) -> None:
    await runner.start()
    await runner.task("stop_bot", **BOT)
    start = await SlowStart.building(runner)
    listed = (await runner.task("list_bots", user_id="alice")).data
    assert [(row["bot_id"], row["status"]) for row in listed["bots"]] == [("bot", "starting")]
    await runner.task("stop_bot", **BOT)
    await start.error()
    # The stopped container is still there to be read.
    assert (await status(runner))["status"] == "stopped"


@pytest.mark.slow
async def test_a_start_under_way_holds_its_place(make_runner: MakeRunner) -> None:
    runner = await make_runner(max_bots_per_user=1)
    start = await SlowStart.building(runner)
    refused = await runner.start(bot_id="other")
    assert refused.data["error"]["code"] == "QUOTA_EXCEEDED"
    assert "bot" in refused.data["error"]["hint"]
    await runner.task("stop_bot", **BOT)
    await start.error()
    assert (await runner.start(bot_id="other")).data["status"] == "started"


@pytest.mark.slow
async def test_restarting_what_is_not_there_is_told_even_without_a_place(make_runner: MakeRunner) -> None:
    runner = await make_runner(max_bots_per_user=1)
    await runner.start()
    refused = await runner.task("restart_bot", user_id="alice", bot_id="nothing")
    assert refused.data["error"]["code"] == "BOT_NOT_FOUND"


@pytest.mark.slow
async def test_nothing_is_left_of_any_task(runner: RunnerUnderTest) -> None:
    """Whatever its end."""
    await runner.start()
    await runner.start()
    await runner.start(env_vars={"A": "1"})
    await runner.start(env_vars={"A": "1"}, replace=True)
    await runner.task("restart_bot", **BOT)
    await runner.task("stop_bot", **BOT)
    await runner.task("start_bot", **{**slow_build(), "archive": "nonsense"})
    assert runner.runner.admission.busy() == set()
