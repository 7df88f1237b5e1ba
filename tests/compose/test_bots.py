"""What `make stack` takes for a bot that ran on."""

import pytest
from tests.conftest import BASE_IMAGE, MakeRunner
from tests.images.docker_cli import docker

from bot_runner_stack.compose.bots import bots_of
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE, BotKey

pytestmark = pytest.mark.slow


async def test_what_the_worker_runs_for_itself_is_no_bot(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    namespace = runner.settings.runner_namespace
    started = await runner.start("alice", "bot")
    labels = [f"--label={NAMESPACE}={namespace}", f"--label={ROLE}={BUILD_ROLE}"]
    work = (await docker("run", "--detach", *labels, BASE_IMAGE, "sleep", "60")).strip()
    try:
        (bot,) = await bots_of(namespace)
    finally:
        await docker("rm", "--force", work)

    assert bot.name == BotKey("alice", "bot").container_name(namespace)
    assert bot.container_id == started.data["container_id"]
