"""A worker that is killed in the middle of a start: the next one sweeps what it left, its places are free."""

import asyncio
import json
import os
import sys

import pytest
from tests.conftest import ENGINE, MakeRunner, RunnerUnderTest
from tests.core.examples import answer, status
from tests.core.tasks.slow_starts import build_step, slow_build

from bot_runner_worker.testing.waiting import until


async def _killed_while_it_builds(runner: RunnerUnderTest) -> None:
    """Let ``bot-runner-worker task`` begin a start in the runner's namespace, and kill it."""
    names = ("runner_namespace", "docker_network", "base_image", "max_bots_per_user")
    settings = {each.upper(): str(getattr(runner.settings, each)) for each in names}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot_runner_worker", "task", "start_bot"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, **settings, "DOCKER_HOST": ENGINE},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(slow_build()).encode())
    process.stdin.close()
    await until(lambda: build_step(runner), 120)
    process.kill()
    await process.wait()


@pytest.mark.slow
async def test_the_next_worker_sweeps_what_is_left_and_its_place_is_free(make_runner: MakeRunner) -> None:
    runner = await make_runner(max_bots_per_user=1)
    await _killed_while_it_builds(runner)
    assert not (await status(runner))["exists"]
    assert answer(await runner.start(bot_id="other")) == "started"
    await runner.runner.supervisor.check()
    assert await build_step(runner) == []
    await runner.task("stop_bot", user_id="alice", bot_id="other")
    await until(lambda: _nothing_but_containers(runner), 60)


async def _nothing_but_containers(runner: RunnerUnderTest) -> bool:
    """Whether no volume, and no container but the stopped bot's, is left."""
    return len(await runner.containers()) == 1 and await runner.volumes() == []
