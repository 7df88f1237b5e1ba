"""A start that fails says why, and leaves nothing: no container, image, network or file."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import IDLE_BOT, MakeRunner, RunnerUnderTest, ignore_progress
from tests.core.images.test_retention import archive_of_a_bot
from tests.core.tasks.slow_starts import SlowStart

from bot_runner_worker.engine import builds as engine_builds
from bot_runner_worker.engine import containers
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings

pytestmark = pytest.mark.engine

SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"deployment_mode": "simple"}, "MISSING_SOURCE"),
        ({"deployment_mode": "magic"}, "INVALID_DEPLOYMENT_MODE"),
        ({**SIMPLE, "files": {"bot.py": "x"}}, "CONFLICTING_SOURCES"),
        ({**SIMPLE, "bot_id": ""}, "INVALID_BOT_ID"),
        ({**SIMPLE, "user_id": "a\n"}, "INVALID_USER_ID"),
        ({**SIMPLE, "colour": "red"}, "UNKNOWN_FIELD"),
        ({**SIMPLE, "entrypoint": "../x.py"}, "INVALID_ENTRYPOINT"),
        ({**SIMPLE, "entrypoint": "/bin/sh"}, "INVALID_ENTRYPOINT"),
        ({**SIMPLE, "entrypoint": 'a".py\nRUN x'}, "INVALID_ENTRYPOINT"),
        ({**SIMPLE, "entrypoint": "-c.py"}, "INVALID_ENTRYPOINT"),
        ({"deployment_mode": "simple", "files": {"main.py": "x"}}, "INVALID_ENTRYPOINT"),
        ({"deployment_mode": "simple", "files": {"../bot.py": "x"}}, "INVALID_PATH"),
        ({"deployment_mode": "simple", "files": {"bot.py": "\ud800"}}, "INVALID_FIELD"),
        ({**SIMPLE, "requirements": ["-r other.txt"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["--index-url https://evil.example/simple"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["-e ."]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["file:///etc/passwd"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["x @ https://evil.example/x.whl"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["git+https://evil.example/x"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["${SECRET}"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["a\\\nb"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "requirements": ["./local"]}, "INVALID_REQUIREMENT"),
        ({**SIMPLE, "env_vars": {"A": "\0"}}, "INVALID_ENVIRONMENT"),
        ({**SIMPLE, "resource_limits": {"memory_mb": 257}}, "LIMIT_TOO_HIGH"),
        ({**SIMPLE, "resource_limits": {"cpu_cores": 0.6}}, "LIMIT_TOO_HIGH"),
        ({**SIMPLE, "resource_limits": {"pids": 129}}, "LIMIT_TOO_HIGH"),
        ({**SIMPLE, "resource_limits": {"memory_mb": -1}}, "INVALID_LIMIT"),
        ({**SIMPLE, "requirements": ["no-such-distribution-zz9"]}, "BUILD_FAILED"),
    ],
)
async def test_bad_input_is_rejected_and_leaves_nothing(
    runner: RunnerUnderTest, params: dict[str, Any], code: str
) -> None:
    outcome = await runner.task("start_bot", **{"user_id": "alice", "bot_id": "bot", **params})
    assert outcome.ending == "rejected"
    error = outcome.data["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["hint"]
    assert error["stage"]
    assert await runner.leftovers() == []


async def test_a_failed_build_shows_the_end_of_its_log(runner: RunnerUnderTest) -> None:
    outcome = await runner.start(**SIMPLE, requirements=["no-such-distribution-zz9"])
    error = outcome.data["error"]
    assert error["stage"] == "resolve"
    assert any("no-such-distribution-zz9" in line for line in error["details"]["log"])
    assert "requirements" in error["hint"]


async def test_an_engine_that_is_down_is_our_fault(tmp_path: Path) -> None:
    settings = Settings.load(worker_token="x", docker_host=f"unix://{tmp_path}/none.sock")
    async with Runner(settings) as runner:
        outcome = await runner.run_task(
            "start_bot", {"user_id": "u", "bot_id": "b", **SIMPLE}, ignore_progress
        )
    assert outcome.ending == "failure"
    assert outcome.data["error"]["code"] == "ENGINE_UNAVAILABLE"


async def test_a_missing_base_image_is_our_fault(make_runner: MakeRunner) -> None:
    runner = await make_runner(base_image="127.0.0.1:1/no/such:image")
    outcome = await runner.start()
    assert outcome.ending == "failure"
    assert outcome.data["error"]["code"] == "BASE_IMAGE_UNAVAILABLE"
    assert await runner.leftovers() == []


@pytest.mark.parametrize("step", ["create", "put_files", "start", "rename"])
@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_start_that_is_cancelled_leaves_nothing_half_made(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    """Cancelled right before or while the Engine works on a step; it then has done it or not."""
    real = getattr(containers, step)
    reached = asyncio.Event()

    async def slow(*args: Any) -> Any:
        if moment == "before":
            reached.set()
            await asyncio.sleep(0.2)
            return await real(*args)
        work = asyncio.create_task(real(*args))
        await asyncio.sleep(0.01)
        reached.set()
        return await asyncio.shield(work)

    monkeypatch.setattr(containers, step, slow)
    task = asyncio.create_task(runner.start())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1.0)
    monkeypatch.undo()
    assert await runner.leftovers() == []
    assert (await runner.start()).data["status"] == "started"


@pytest.mark.parametrize("step", ["create", "put_files", "stop", "rename", "start"])
async def test_a_replacement_that_is_cancelled_leaves_the_old_bot_running(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    first = await runner.start()
    real = getattr(containers, step)
    reached = asyncio.Event()

    async def slow(*args: Any) -> Any:
        reached.set()
        await asyncio.sleep(0.1)
        return await real(*args)

    monkeypatch.setattr(containers, step, slow)
    task = asyncio.create_task(runner.start(env_vars={"A": "2"}, replace=True))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1.0)
    status = (await runner.task("check_status", user_id="alice", bot_id="bot")).data
    assert (status["status"], status["container_id"]) == ("running", first.data["container_id"])
    assert len(await runner.containers()) == 1


async def test_a_bot_that_crashes_at_once_is_started_all_the_same(runner: RunnerUnderTest) -> None:
    code = "import os; os._exit(1)"
    outcomes = [
        await runner.start(bot_id="bad", deployment_mode="simple", code=f"{code} # {n}", replace=True)
        for n in range(5)
    ]
    assert [outcome.data.get("status") for outcome in outcomes] == ["started"] * 5
    assert len(await runner.containers()) == 1


async def test_a_build_that_is_cancelled_leaves_nothing(runner: RunnerUnderTest) -> None:
    task = (await SlowStart.building(runner)).task
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(20):
        rows = await runner.engine.json("GET", "containers/json")
        if not any("sleep 300" in row["Command"] for row in rows):
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("the build went on for two seconds after it was cancelled")
    assert await runner.leftovers() == []


async def test_two_identical_builds_at_once_are_done_once(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = []
    real = engine_builds.build

    async def counted(*args: Any, **kwargs: Any) -> None:
        builds.append(kwargs["tag"])
        await real(*args, **kwargs)

    monkeypatch.setattr(engine_builds, "build", counted)
    # A tenant's own builds are never shared with others; what all may share, see test_packages.py.
    project = {"deployment_mode": "custom", "archive": archive_of_a_bot()}
    bots = ("one", "two", "three")
    outcomes = await asyncio.gather(*(runner.start(bot_id=bot, **project) for bot in bots))
    assert {outcome.data["status"] for outcome in outcomes} == {"started"}
    assert len({outcome.data["image"] for outcome in outcomes}) == 1
    assert len(builds) == 1
    await runner.task("stop_bot", user_id="alice", bot_id="one")
    await runner.start(bot_id="four", **project)
    assert len(builds) == 1
