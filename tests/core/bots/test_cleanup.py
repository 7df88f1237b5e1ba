"""What is left over besides bots is removed: steps of builds, layers, probes; and nothing that is in use."""

from collections.abc import Callable

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import context_of, inspect

from bot_runner_worker.bots import cleanup
from bot_runner_worker.bots.cleanup import LEFT_OVER_AFTER
from bot_runner_worker.engine import Engine, containers, images, networks
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, PROBE_ROLE, ROLE, BotKey


def nobody() -> bool:
    return False


def somebody() -> bool:
    return True


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds go by."""
    gone = 0.0
    real = cleanup.monotonic

    def go_by(seconds: float) -> None:
        nonlocal gone
        gone += seconds

    monkeypatch.setattr(cleanup, "monotonic", lambda: real() + gone)
    return go_by


async def step_of_a_build(runner: RunnerUnderTest) -> str:
    labels = {NAMESPACE: runner.settings.runner_namespace, ROLE: BUILD_ROLE}
    config = {"Image": runner.settings.base_image, "Cmd": ["sleep", "1000"], "Labels": labels}
    return await containers.create(runner.engine, f"{runner.settings.runner_namespace}-step", config)


async def layer_of_a_build(runner: RunnerUnderTest) -> str:
    """An image without a tag, as a build that was not finished leaves it."""
    labels = f"{NAMESPACE}={runner.settings.runner_namespace} {ROLE}={BUILD_ROLE}"
    data = context_of(f"FROM {runner.settings.base_image}\nLABEL {labels}\n")
    headers = {"Content-Type": "application/x-tar"}
    async with runner.engine.request("POST", "build", data=data, headers=headers) as answer:
        assert b"Successfully built" in await answer.read()
    (found,) = await images.list_untagged(runner.engine, {NAMESPACE: runner.settings.runner_namespace})
    return str(found["Id"])


async def is_there(engine: Engine, container: str) -> bool:
    return await containers.inspect(engine, container) is not None


@pytest.mark.engine
async def test_what_builds_left_goes_at_once_when_nobody_is_building(runner: RunnerUnderTest) -> None:
    step, layer = await step_of_a_build(runner), await layer_of_a_build(runner)
    assert await runner.runner.runtime.sweep(nobody) == (2, set())
    assert not await is_there(runner.engine, step)
    assert await images.inspect(runner.engine, layer) is None


@pytest.mark.slow
async def test_what_builds_make_stays_while_somebody_may_be_building(
    make_runner: MakeRunner, pass_time: Callable[[float], None]
) -> None:
    runner = await make_runner(build_timeout_seconds=100)
    step, layer = await step_of_a_build(runner), await layer_of_a_build(runner)
    runtime = runner.runner.runtime
    assert await runtime.sweep(somebody) == (0, set())
    pass_time(LEFT_OVER_AFTER)
    assert await runtime.sweep(somebody) == (0, set())
    assert await is_there(runner.engine, step)
    # By now it would have been ended.
    pass_time(101)
    assert await runtime.sweep(somebody) == (2, set())
    assert not await is_there(runner.engine, step)
    assert await images.inspect(runner.engine, layer) is None


@pytest.mark.slow
async def test_what_a_killed_probe_left_goes_after_a_while(
    runner: RunnerUnderTest, pass_time: Callable[[float], None]
) -> None:
    key = BotKey("", "probe-1")
    network = runner.runner.runtime._networks.choose(key)
    await runner.runner.runtime._networks.ensure(key, network)
    config = {
        "Image": runner.settings.base_image,
        "Labels": key.labels(runner.settings.runner_namespace) | {ROLE: PROBE_ROLE},
        "HostConfig": {"NetworkMode": network},
    }
    probe = await containers.create(runner.engine, f"{runner.settings.runner_namespace}-probe", config)
    runtime = runner.runner.runtime
    assert await runtime.sweep(nobody) == (0, set())
    pass_time(LEFT_OVER_AFTER + 1)
    assert await runtime.sweep(nobody) == (2, set())
    assert not await is_there(runner.engine, probe)
    assert await networks.inspect(runner.engine, network) is None


@pytest.mark.slow
async def test_images_of_bots_and_other_namespaces_are_not_touched(make_runner: MakeRunner) -> None:
    ours, theirs = await make_runner(), await make_runner()
    step = await step_of_a_build(theirs)
    await ours.start(deployment_mode="simple", code="import time; time.sleep(99)", requirements=["six"])
    found = await inspect(ours)
    await ours.runner.images.packages.wait_closed()  # or somebody would be at work
    assert await ours.runner.runtime.sweep(nobody) == (0, set())
    assert await images.inspect(ours.engine, found["Image"]) is not None
    assert await is_there(theirs.engine, step)
