"""The tutorial's plugin in a worker's image, which takes over from a worker without it."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import IDLE_BOT
from tests.documentation.tutorial import Author, blocks
from tests.images.conftest import RunContainer
from tests.images.docker_cli import docker
from tests.images.test_worker_image import as_in_the_readme, registered
from tests.stack.conftest import client_of, running

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_stack.engine import bridge_address
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.images

TAG = "localhost/bot-runner-worker-with-faq:test"
FAQ = {"deployment_mode": "faq", "answers": {"How much?": "Nothing."}}


@pytest.fixture
def image_with_plugin(worker_image: str, tmp_path: Path) -> Iterator[str]:
    """The image that the tutorial ends with, made by its own commands; what it shows was compared."""
    project = tmp_path / "faq-mode"
    for folder in ("bot_runner_faq", "tests", "dist"):
        (project / folder).mkdir(parents=True)
    todo = blocks()
    # What comes before is done in tests/documentation, and the image needs no more of it than the files.
    shipping = next(number for number, block in enumerate(todo) if block.language == "dockerfile")
    names = {"bot-runner-worker:latest": worker_image, "bot-runner-worker-with-faq": TAG}
    author = Author(project, tmp_path / "none", {}, names)
    author.do([block for block in todo[:shipping] if block.title])
    wheel = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(project / "dist")]
    subprocess.run([sys.executable, "-m", "pip", *wheel, str(project)], check=True, timeout=60)
    try:
        author.do(todo[shipping : shipping + 3])
        yield TAG
    finally:
        subprocess.run(["docker", "image", "rm", TAG], capture_output=True, timeout=60)


@pytest.fixture
async def stack() -> AsyncIterator[EmbeddedStack]:
    """An orchestrator, and a worker without the plugin."""
    async with running(host=await bridge_address()) as made:
        yield made


async def test_a_standby_with_the_plugin_brings_its_mode(
    image_with_plugin: str, stack: EmbeddedStack, run_container: RunContainer
) -> None:
    client = client_of(stack)
    unknown = await client.error("start", bot_id="helper", **FAQ)
    assert unknown["code"] == "INVALID_DEPLOYMENT_MODE"

    container = await run_container(*as_in_the_readme(image_with_plugin, stack))

    async def stands_by() -> bool:
        return "standby: " in await docker("logs", container, accept_failure=True)

    await until(stands_by, 60)
    await stack.workers[0].stop()
    await registered(stack)

    async def logs(bot_id: str) -> str:
        return str((await client.result("logs", bot_id=bot_id))["logs"])

    for number in range(3):
        started = await client.result("start", bot_id=f"helper-{number}", **FAQ)
        assert (started.get("status"), started.get("mode")) == ("started", "faq"), started
        assert await until(partial(logs, f"helper-{number}")) == "ready: 1 answers\n"
    assert (await client.result("stop", bot_id="helper-0"))["status"] == "stopped"
    started = await client.result("start", bot_id="plain", deployment_mode="simple", code=IDLE_BOT)
    assert started["status"] == "started"
