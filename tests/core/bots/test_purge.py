"""Removal of a whole namespace while something of it is still in use."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conftest import BASE_IMAGE, ENGINE, MakeRunner, RunnerUnderTest

from bot_runner_worker.engine import containers, volumes
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.testing.waiting import stays

pytestmark = pytest.mark.slow


@pytest.fixture
async def runner(make_runner: MakeRunner) -> RunnerUnderTest:
    """One of its own: its whole namespace is removed here."""
    return await make_runner()


@pytest.fixture
async def volume(runner: RunnerUnderTest) -> AsyncIterator[str]:
    """A volume of the runner's namespace."""
    name = f"{runner.settings.docker_network}-volume"
    await volumes.create(runner.engine, name, {NAMESPACE: runner.settings.runner_namespace})
    yield name
    await volumes.remove(runner.engine, name)


@pytest.fixture
async def user(runner: RunnerUnderTest, volume: str) -> AsyncIterator[str]:
    """A container, not of the namespace, that has the volume."""
    name = f"{volume}-user"
    await containers.create(
        runner.engine, name, {"Image": BASE_IMAGE, "HostConfig": {"Binds": [f"{volume}:/mnt"]}}
    )
    yield name
    await containers.remove(runner.engine, name)


async def test_a_volume_is_removed_as_soon_as_nothing_uses_it(
    runner: RunnerUnderTest, volume: str, user: str
) -> None:
    await runner.start()
    removal = asyncio.create_task(runner.runner.runtime.remove_all())
    await stays(lambda: not removal.done(), 1)
    await containers.remove(runner.engine, user)
    assert await removal == 1
    assert volume not in await volumes.list_by_labels(runner.engine, {})


async def test_the_command_says_what_is_still_in_use(runner: RunnerUnderTest, volume: str, user: str) -> None:
    settings = runner.settings
    command = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / "bot-runner-worker"), "remove-all", "--yes"),
        env={**os.environ, "DOCKER_HOST": ENGINE, "RUNNER_NAMESPACE": settings.runner_namespace},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await command.communicate()
    assert (command.returncode, output) == (1, b"")
    assert errors.decode().startswith(
        f"bot-runner-worker: Volumes of the namespace {settings.runner_namespace} are still in use: {volume}."
    )
    assert "Stop its workers first" in errors.decode()
