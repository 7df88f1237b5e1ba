"""A bot starts with more CPU, and is brought down to its limit, whoever does it."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import inspect, status

from bot_runner_worker.testing.waiting import until

BILLION = 1_000_000_000


async def cores(runner: RunnerUnderTest) -> float:
    """What the bot may use now."""
    return float((await inspect(runner))["HostConfig"]["NanoCpus"]) / BILLION


async def cores_come_to(runner: RunnerUnderTest, wanted: float) -> None:
    async def come() -> bool:
        return await cores(runner) == wanted

    await until(come, 30, f"the bot has {wanted} cores")


@pytest.mark.engine
async def test_more_at_first_and_then_what_the_request_asked_for(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1, start_burst_seconds=2)
    started = await runner.start(resource_limits={"cpu_cores": 0.25})
    assert await cores(runner) == 1
    await cores_come_to(runner, 0.25)
    again = await runner.start(resource_limits={"cpu_cores": 0.25})
    assert again.data["status"] == "already_running"
    assert again.data["container_id"] == started.data["container_id"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"start_burst_cpu": 0}, {"start_burst_seconds": 0}, {"start_burst_cpu": 0.3}],
    ids=["off", "no time", "below the limit"],
)
async def test_no_burst(make_runner: MakeRunner, settings: dict[str, float]) -> None:
    runner = await make_runner(**settings)
    await runner.start()
    assert await cores(runner) == 0.5


@pytest.mark.slow
async def test_no_more_than_the_machine_has(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1000)
    await runner.start()
    assert await cores(runner) == (await runner.engine.json("GET", "info"))["NCPU"]


@pytest.mark.slow
async def test_a_bot_that_fails_within_its_burst_is_restarted_and_comes_down(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1, start_burst_seconds=2)
    await runner.start(deployment_mode="simple", code="import time; time.sleep(1); raise SystemExit(3)")
    await cores_come_to(runner, 0.5)


@pytest.mark.slow
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
    assert (await status(other))["status"] == "running"


@pytest.mark.slow
async def test_a_clock_that_was_set_back_prolongs_nothing(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=1, start_burst_seconds=300)
    await runner.start()
    await runner.runner.supervisor.check(lambda: datetime.now(UTC) - timedelta(hours=1))
    assert await cores(runner) == 0.5
