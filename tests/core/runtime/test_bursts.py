"""A bot starts with more CPU, and is brought down to its limit, whoever does it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest

pytestmark = pytest.mark.engine

BILLION = 1_000_000_000


async def cores(runner: RunnerUnderTest) -> float:
    """What the bot may use now."""
    data = (await runner.task("check_status", user_id="alice", bot_id="bot")).data
    container = await runner.engine.json("GET", f"containers/{data['container_id']}/json")
    return float(container["HostConfig"]["NanoCpus"]) / BILLION


async def cores_come_to(runner: RunnerUnderTest, wanted: float) -> None:
    for _ in range(100):
        if await cores(runner) == wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{await cores(runner)} cores, not {wanted}")


async def test_more_at_first_and_then_what_the_request_asked_for(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1, start_burst_seconds=2)
    started = await runner.start(resource_limits={"cpu_cores": 0.25})
    assert await cores(runner) == 1
    await cores_come_to(runner, 0.25)
    again = await runner.start(resource_limits={"cpu_cores": 0.25})
    assert again.data["status"] == "already_running"
    assert again.data["container_id"] == started.data["container_id"]


@pytest.mark.parametrize(
    "settings",
    [{"start_burst_cpu": 0}, {"start_burst_seconds": 0}, {"start_burst_cpu": 0.3}],
    ids=["off", "no time", "below the limit"],
)
async def test_no_burst(make_runner: MakeRunner, settings: dict[str, float]) -> None:
    runner = await make_runner(**settings)
    await runner.start()
    assert await cores(runner) == 0.5


async def test_no_more_than_the_machine_has(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1000)
    await runner.start()
    assert await cores(runner) == (await runner.engine.json("GET", "info"))["NCPU"]


async def test_a_bot_that_fails_within_its_burst_is_restarted_and_comes_down(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1, start_burst_seconds=2)
    await runner.start(deployment_mode="simple", code="import time; time.sleep(1); raise SystemExit(3)")
    await cores_come_to(runner, 0.5)


async def test_what_a_killed_worker_left_is_brought_down_by_the_next(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1, start_burst_seconds=5)
    await runner.start()
    await runner.runner.runtime.close()  # its timers end with the worker
    other = await make_runner(
        runner_namespace=runner.settings.runner_namespace,
        worker_id="other",
        start_burst_cpu=1,
        start_burst_seconds=5,
    )
    supervisor = other.runner.supervisor
    await supervisor.check()
    assert await cores(other) == 1, "its time is not over"
    await supervisor.check(lambda: datetime.now(UTC) + timedelta(seconds=60))
    assert await cores(other) == 0.5
    assert (await other.task("check_status", user_id="alice", bot_id="bot")).data["status"] == "running"


async def test_a_clock_that_was_set_back_prolongs_nothing(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1, start_burst_seconds=300)
    await runner.start()
    await runner.runner.supervisor.check(lambda: datetime.now(UTC) - timedelta(hours=1))
    assert await cores(runner) == 0.5
