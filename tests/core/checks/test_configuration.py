"""What the doctor says about images: registries that are trusted, and room on the Engine's disk."""

import pytest
from tests.conftest import MakeRunner

from bot_runner_worker.checks import Check, State, run_checks

pytestmark = pytest.mark.engine


async def check(make_runner: MakeRunner, name: str, **settings: object) -> Check:
    runner = await make_runner(**settings)
    return next(each for each in await run_checks(runner.settings) if each.name == name)


async def test_trusting_every_registry_is_pointed_out(make_runner: MakeRunner) -> None:
    assert (await check(make_runner, "registries")).state is State.OK
    found = await check(make_runner, "registries", registries_allowed="*")
    assert found.state is State.WARNING
    assert "REGISTRIES_ALLOWED" in found.remedy


async def test_a_full_disk_is_pointed_out(make_runner: MakeRunner) -> None:
    assert (await check(make_runner, "Engine's disk", min_free_disk=0)).state is State.OK
    assert (await check(make_runner, "Engine's disk", min_free_disk=1 << 60)).state is State.FAILED
