"""Below the floor of free disk nothing is built or pulled; a bot that needs neither starts all the same."""

from uuid import uuid4

import pytest
from tests.conftest import BASE_IMAGE, MakeRunner
from tests.core.images.building import Builder
from tests.registry import Registry

pytestmark = pytest.mark.slow

MORE_THAN_THERE_IS = 2**60


async def test_nothing_is_built_below_the_floor(make_runner: MakeRunner) -> None:
    runner = await make_runner(min_free_disk=MORE_THAN_THERE_IS)
    error = await Builder(runner).failure(f"FROM {BASE_IMAGE}\nENV X={uuid4().hex}\n")
    assert error.code == "ENGINE_DISK_FULL"


async def test_nothing_is_pulled_below_the_floor(make_runner: MakeRunner, registry: Registry) -> None:
    runner = await make_runner(min_free_disk=MORE_THAN_THERE_IS, registries_allowed=registry.host)
    name = registry.put_image(f"acme/{uuid4().hex}:1", files={"file": b"content"})
    outcome = await runner.start(deployment_mode="image", docker_image=name)
    assert (outcome.ending, outcome.error and outcome.error["code"]) == ("failure", "ENGINE_DISK_FULL")
    assert await runner.leftovers() == []


async def test_not_even_the_base_image_is_pulled_below_the_floor(make_runner: MakeRunner) -> None:
    runner = await make_runner(min_free_disk=MORE_THAN_THERE_IS, base_image="127.0.0.1:1/base:none")
    outcome = await runner.start()
    assert outcome.error is not None
    assert outcome.error["code"] == "ENGINE_DISK_FULL"


async def test_a_bot_whose_image_is_there_starts_below_the_floor(make_runner: MakeRunner) -> None:
    runner = await make_runner(min_free_disk=MORE_THAN_THERE_IS)
    assert (await runner.start()).data["status"] == "started"
    assert (await runner.task("restart_bot", user_id="alice", bot_id="bot")).error is None
