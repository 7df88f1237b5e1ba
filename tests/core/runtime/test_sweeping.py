"""What a killed worker left behind is finished or removed, and nothing else is touched."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import RunnerUnderTest

from bot_runner_worker.engine import containers
from bot_runner_worker.identity import BUILD_ROLE, NAMESPACE, ROLE, BotKey

pytestmark = pytest.mark.engine

BOT = {"user_id": "alice", "bot_id": "bot"}


async def another_container(runner: RunnerUnderTest, suffix: str) -> str:
    """One more container of the running bot, as a start makes it before it starts it."""
    status = (await runner.task("check_status", **BOT)).data
    found = await containers.inspect(runner.engine, status["container_id"])
    assert found is not None
    config = {**found["Config"], "HostConfig": found["HostConfig"], "Cmd": ["sleep", "1000"]}
    return await containers.create(runner.engine, status["container_name"] + suffix, config)


async def sweep_later(runner: RunnerUnderTest, **later: int) -> int:
    return await runner.runner.runtime.sweep(datetime.now(UTC) + timedelta(**later))


async def test_a_container_that_never_started_is_removed(runner: RunnerUnderTest) -> None:
    await runner.start()
    made = await another_container(runner, "-next")
    assert await sweep_later(runner, minutes=5) == 0
    assert await sweep_later(runner, minutes=15) == 1
    assert await containers.inspect(runner.engine, made) is None
    assert (await runner.task("check_status", **BOT)).data["status"] == "running"


async def test_a_bot_whose_replacement_started_is_removed(runner: RunnerUnderTest) -> None:
    started = await runner.start()
    previous = await another_container(runner, "-previous")
    assert await sweep_later(runner, minutes=15) == 1
    assert await containers.inspect(runner.engine, previous) is None
    status = (await runner.task("check_status", **BOT)).data
    assert (status["status"], status["container_id"]) == ("running", started.data["container_id"])


@pytest.mark.parametrize("replacement", ["gone", "created"])
async def test_a_bot_whose_replacement_never_started_comes_back(
    runner: RunnerUnderTest, replacement: str
) -> None:
    started = await runner.start()
    made = await another_container(runner, "-next")
    container, name = started.data["container_id"], started.data["container_name"]
    await containers.stop(runner.engine, container, 1)
    await containers.rename(runner.engine, container, f"{name}-previous")
    if replacement == "created":
        await containers.rename(runner.engine, made, name)
    else:
        await containers.remove(runner.engine, made)
    assert await sweep_later(runner, minutes=15) >= 1
    status = (await runner.task("check_status", **BOT)).data
    assert (status["status"], status["container_id"]) == ("running", container)
    assert status["container_name"] == name
    assert len(await runner.containers()) == 1


async def test_a_network_without_its_bot_is_removed(runner: RunnerUnderTest) -> None:
    await runner.start()
    await runner.runner.runtime._networks.ensure(BotKey("alice", "gone"))
    assert len(await runner.leftovers("networks")) == 2
    assert await sweep_later(runner, minutes=5) == 0
    assert await sweep_later(runner, minutes=15) == 1
    assert len(await runner.leftovers("networks")) == 1
    assert (await runner.task("check_status", **BOT)).data["status"] == "running"


async def test_a_step_of_a_build_that_nobody_waits_for_is_removed(runner: RunnerUnderTest) -> None:
    labels = {NAMESPACE: runner.settings.runner_namespace, ROLE: BUILD_ROLE}
    config = {"Image": runner.settings.base_image, "Cmd": ["sleep", "1000"], "Labels": labels}
    step = await containers.create(runner.engine, f"{runner.settings.runner_namespace}-step", config)
    assert await sweep_later(runner, minutes=5) == 0
    assert await sweep_later(runner, minutes=15) == 1
    assert await containers.inspect(runner.engine, step) is None
