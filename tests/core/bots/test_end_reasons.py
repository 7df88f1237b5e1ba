"""Why a bot ended is kept with its container, in whatever state it was ended, and read back in words."""

from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import inspect
from tests.core.examples import status as status_of

from bot_runner_worker.bots.container_config import RUNNING_POLICY
from bot_runner_worker.engine import Engine, EngineError, containers
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.spec import NORMAL_WEIGHT, WARNED_WEIGHT, BotRecord, EndReason, Termination
from bot_runner_worker.testing.waiting import until

BOT = BotKey("alice", "bot")

STATUSES = {
    EndReason.STOPPED: ("stopped", "stopped on request"),
    EndReason.EXPIRED: ("expired", "its time was over"),
    EndReason.EXITED: ("exited", "ended by itself"),
    EndReason.CRASHED: ("crashed", "ended with exit code 3"),
    EndReason.DISK_LIMIT: ("stopped", "stopped because it wrote more to its disk than it may"),
    EndReason.LOG_FLOOD: ("stopped", "stopped because it printed more than it may"),
}


@pytest.mark.parametrize("reason", EndReason)
@pytest.mark.parametrize("exit_code", [None, 0, 3, 255])
@pytest.mark.parametrize("oom_killed", [False, True])
def test_a_weight_is_read_back_as_what_it_was_made_of(
    reason: EndReason, exit_code: int | None, oom_killed: bool
) -> None:
    weight = Termination(reason, exit_code, oom_killed).weight
    read = Termination.of_weight(weight)
    assert read.reason is reason
    if reason is EndReason.CRASHED and exit_code is not None:
        assert (read.exit_code, read.oom_killed) == (exit_code, oom_killed)
    # Docker takes 2 to 262144; a bot that runs must not have one that is read as an end reason of its own.
    assert NORMAL_WEIGHT <= weight <= 262_144
    assert weight != WARNED_WEIGHT


def test_a_weight_that_stands_for_nothing_is_a_stop() -> None:
    assert Termination.of_weight(0).reason is EndReason.STOPPED
    assert Termination.of_weight(77).reason is EndReason.STOPPED


async def record_of(runner: RunnerUnderTest) -> BotRecord:
    found = await runner.runner.runtime.find(BOT)
    assert found is not None
    return found


async def brought_to(runner: RunnerUnderTest, state: str) -> None:
    """A bot whose container is in one of the Engine's states."""
    code = {"restarting": "raise SystemExit(3)", "exited": "print('bye')"}.get(
        state, "import time; time.sleep(999)"
    )
    await runner.start(code=code, deployment_mode="simple")
    if state == "paused":
        await runner.engine.json("POST", f"containers/{(await record_of(runner)).id}/pause")

    async def there() -> bool:
        found = await inspect(runner)
        # Between two runs for a second or more.
        often = state != "restarting" or found["RestartCount"] >= 5
        return bool(found["State"]["Status"] == state and often)

    await until(there, 60, f"the bot is {state}")


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("running", marks=pytest.mark.engine),
        *(pytest.param(state, marks=pytest.mark.slow) for state in ("restarting", "exited", "paused")),
    ],
)
async def test_a_bot_is_ended_in_whatever_state_it_is(make_runner: MakeRunner, state: str) -> None:
    runner = await make_runner(stop_grace_seconds=1)
    await brought_to(runner, state)
    await runner.runner.runtime.end(await record_of(runner), EndReason.LOG_FLOOD)
    found = await inspect(runner)
    assert found["State"]["Status"] == "exited"
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"
    record = await record_of(runner)
    assert (record.end_reason, record.status) == (EndReason.LOG_FLOOD, "stopped")


@pytest.mark.slow
async def test_a_bot_that_the_engine_cannot_change_in_this_moment_is_stopped_first(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on 20.10 now and then, while a process is starting or ending."""
    runner = await make_runner(stop_grace_seconds=1)
    await brought_to(runner, "running")
    real = containers.set_policy
    states = []

    async def refused_while_it_runs(*arguments: Any, **options: Any) -> None:
        states.append((await inspect(runner))["State"]["Status"])
        if states == ["running"]:
            raise EngineError(500, "cannot update a stopped container: unknown")
        await real(*arguments, **options)

    monkeypatch.setattr(containers, "set_policy", refused_while_it_runs)
    await runner.runner.runtime.end(await record_of(runner), EndReason.EXPIRED)
    assert states == ["running", "exited"]
    record = await record_of(runner)
    assert (record.end_reason, record.status) == (EndReason.EXPIRED, "expired")


@pytest.mark.slow
async def test_a_reason_that_the_engine_takes_back_is_written_again(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the end of the CPU boost fails, since the bot ends in that moment."""
    runner = await make_runner(stop_grace_seconds=1)
    await brought_to(runner, "running")
    real = containers.stop

    async def undone(engine: Engine, container: str, grace_seconds: int) -> Any:
        await real(engine, container, grace_seconds)
        await containers.set_policy(engine, container, restart=RUNNING_POLICY, cpu_shares=NORMAL_WEIGHT)
        return await containers.inspect(engine, container)

    monkeypatch.setattr(containers, "stop", undone)
    await runner.runner.runtime.end(await record_of(runner), EndReason.CRASHED)
    assert (await record_of(runner)).end_reason is EndReason.CRASHED


@pytest.mark.slow
async def test_each_end_reason_is_read_back_in_words(make_runner: MakeRunner) -> None:
    runner = await make_runner(stop_grace_seconds=0)
    # A bot that is killed in the middle of its next run has another exit code.
    await brought_to(runner, "restarting")
    runtime = runner.runner.runtime
    failed = await record_of(runner)
    for end_reason, (status, reason) in STATUSES.items():
        await runtime.end(failed, end_reason)
        report = await status_of(runner)
        assert (report["status"], report["reason"]) == (status, reason)
        listed = (await runner.task("list_bots", user_id="alice")).data["bots"]
        assert [row["status"] for row in listed] == [status]


@pytest.mark.slow
async def test_a_restart_takes_the_end_reason_back(runner: RunnerUnderTest) -> None:
    await runner.start()
    for reason in EndReason:
        await runner.runner.runtime.end(await record_of(runner), reason)
        assert (await runner.task("restart_bot", user_id="alice", bot_id="bot")).data["status"] == "started"
        record = await record_of(runner)
        assert (record.end_reason, record.status, record.reason) == (None, "running", "")
        host = (await inspect(runner))["HostConfig"]
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 0}
        assert host["CpuShares"] == NORMAL_WEIGHT


@pytest.mark.slow
async def test_ending_a_bot_that_is_gone_is_fine(runner: RunnerUnderTest) -> None:
    await runner.start()
    record = await record_of(runner)
    await runner.runner.runtime.remove(record)
    await runner.runner.runtime.end(record, EndReason.STOPPED)
