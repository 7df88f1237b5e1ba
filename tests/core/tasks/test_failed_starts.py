"""A start that fails says why, and leaves nothing: no container, image, network or file."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import IDLE_BOT, MakeRunner, RunnerUnderTest, ignore_progress
from tests.core.examples import answer, nothing_left, status
from tests.core.images.test_gc import archive_of_a_bot
from tests.core.tasks.slow_starts import SlowStart, build_step, slow_step

from bot_runner_worker.images.build import BuildSandbox
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.memory_runner import MemoryRunner, memory_runner
from bot_runner_worker.testing.waiting import until

SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}


async def check_refusal(
    runner: RunnerUnderTest | MemoryRunner, params: dict[str, Any], code: str
) -> dict[str, Any]:
    """What a refused start must say, and that it leaves nothing; returns its error."""
    outcome = await runner.start(**params)
    assert outcome.ending == "rejected"
    error: dict[str, Any] = outcome.data["error"]
    assert error["code"] == code
    assert all(error[each] for each in ("message", "hint", "stage"))
    assert await runner.leftovers() == []
    return error


@pytest.mark.engine
@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({**SIMPLE, "colour": "red"}, "UNKNOWN_FIELD"),
        ({**SIMPLE, "requirements": ["./local"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "resource_limits": {"memory_mb": 257}}, "LIMIT_TOO_HIGH"),
        ({**SIMPLE, "env_vars": {"A": "\0"}}, "INVALID_ENVIRONMENT"),
    ],
)
async def test_one_refusal_of_each_kind_leaves_nothing(
    runner: RunnerUnderTest, params: dict[str, Any], code: str
) -> None:
    await check_refusal(runner, params, code)


@pytest.fixture
async def in_memory() -> AsyncIterator[MemoryRunner]:
    async with memory_runner() as runner:
        yield runner


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"deployment_mode": "simple"}, "MISSING_SOURCE"),
        ({"deployment_mode": "simple", "files": {"main.py": "x"}}, "INVALID_ENTRYPOINT"),
        ({**SIMPLE, "entrypoint": 'a".py\nRUN x'}, "INVALID_ENTRYPOINT"),
        ({**SIMPLE, "resource_limits": {"cpu_cores": 0.6}}, "LIMIT_TOO_HIGH"),
        ({**SIMPLE, "resource_limits": {"pids": 129}}, "LIMIT_TOO_HIGH"),
    ],
)
async def test_what_else_is_refused(in_memory: MemoryRunner, params: dict[str, Any], code: str) -> None:
    """Besides the corpus."""
    await check_refusal(in_memory, params, code)


@pytest.mark.engine
async def test_a_failed_build_shows_the_end_of_its_log_and_leaves_nothing(runner: RunnerUnderTest) -> None:
    params = {**SIMPLE, "requirements": ["no-such-distribution-zz9"]}
    error = await check_refusal(runner, params, "BUILD_FAILED")
    assert error["stage"] == "resolve"
    assert any("no-such-distribution-zz9" in line for line in error["details"]["log"])
    assert "requirements" in error["hint"]


async def test_an_engine_that_is_down_is_our_fault(tmp_path: Path) -> None:
    settings = Settings.load(worker_token="x", docker_host=f"unix://{tmp_path}/none.sock")
    params = {"user_id": "u", "bot_id": "b", **SIMPLE}
    async with Runner(settings) as runner:
        outcome = await runner.run_task("start_bot", params, ignore_progress)
    assert outcome.ending == "failure"
    assert outcome.data["error"]["code"] == "ENGINE_UNAVAILABLE"


@pytest.mark.engine
async def test_a_missing_base_image_is_our_fault(make_runner: MakeRunner) -> None:
    runner = await make_runner(base_image="127.0.0.1:1/no/such:image")
    outcome = await runner.start()
    assert outcome.ending == "failure"
    assert outcome.data["error"]["code"] == "BASE_IMAGE_UNAVAILABLE"
    assert await runner.leftovers() == []


@pytest.mark.parametrize("step", ["create", "put_files", "start", "rename"])
@pytest.mark.parametrize(
    "begun",
    [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.engine)],
    ids=["before", "during"],
)
async def test_a_start_that_is_cancelled_leaves_nothing_half_made(
    runner: RunnerUnderTest, step: str, begun: bool
) -> None:
    """Cancelled right before or while the Engine works on a step; it then has done it or not."""
    async with slow_step(step, begun=begun) as reached:
        task = asyncio.create_task(runner.start())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await nothing_left(runner)
    assert answer(await runner.start()) == "started"


@pytest.mark.parametrize(
    "step",
    [
        *(pytest.param(step, marks=pytest.mark.slow) for step in ("create", "put_files", "stop", "rename")),
        pytest.param("start", marks=pytest.mark.engine),
    ],
)
async def test_a_replacement_that_is_cancelled_leaves_the_old_bot_running(
    runner: RunnerUnderTest, step: str
) -> None:
    first = await runner.start()
    async with slow_step(step) as reached:
        task = asyncio.create_task(runner.start(env_vars={"A": "2"}, replace=True))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def the_old_one_alone() -> bool:
        found = await status(runner)
        running = (found["status"], found["container_id"]) == ("running", first.data["container_id"])
        return running and len(await runner.containers()) == 1

    await until(the_old_one_alone, 30)


@pytest.mark.slow
async def test_a_bot_that_crashes_at_once_is_started_all_the_same(runner: RunnerUnderTest) -> None:
    code = "import os; os._exit(1)"
    outcomes = [
        await runner.start(deployment_mode="simple", code=f"{code} # {n}", replace=True) for n in range(5)
    ]
    assert [answer(each) for each in outcomes] == ["started"] * 5
    assert len(await runner.containers()) == 1


@pytest.mark.engine
async def test_a_build_that_is_cancelled_leaves_nothing(runner: RunnerUnderTest) -> None:
    """It is no answer to a stop, either: whoever cancels the task must see it cancelled."""
    task = (await SlowStart.building(runner)).task
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def ended() -> bool:
        return not await build_step(runner)

    await until(ended, 30, "the build ends on the Engine")
    await nothing_left(runner)


@pytest.mark.slow
async def test_two_identical_builds_at_once_are_done_once(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = []
    real = BuildSandbox.build

    async def counted(sandbox: BuildSandbox, **kwargs: Any) -> None:
        builds.append(kwargs["tag"])
        await real(sandbox, **kwargs)

    monkeypatch.setattr(BuildSandbox, "build", counted)
    # A tenant's own builds are never shared with others; what all may share, see test_packages.py.
    project = {"deployment_mode": "custom", "archive": archive_of_a_bot()}
    bots = ("one", "two", "three")
    outcomes = await asyncio.gather(*(runner.start(bot_id=bot, **project) for bot in bots))
    assert [answer(each) for each in outcomes] == ["started"] * 3
    assert len({outcome.data["image"] for outcome in outcomes}) == 1
    assert len(builds) == 1
    await runner.task("stop_bot", user_id="alice", bot_id="one")
    await runner.start(bot_id="four", **project)
    assert len(builds) == 1
