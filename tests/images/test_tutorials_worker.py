"""The tutorial's plugin in a worker's image: its mode is given to that worker, and to no other."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conftest import IDLE_BOT
from tests.documentation.tutorial import Author, blocks
from tests.images.conftest import RunContainer
from tests.images.docker_cli import docker
from tests.images.test_worker_image import as_in_the_readme
from tests.stack.conftest import Client, sweep

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_stack.engine import bridge_address

pytestmark = [pytest.mark.engine, pytest.mark.stack]

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
    """An orchestrator, and a worker without the plugin; what the runner made is swept."""
    async with EmbeddedStack(StackOptions(workers=1, host=await bridge_address())) as running:
        try:
            yield running
        finally:
            await sweep(running)


async def first_words(client: Client, bot_id: str) -> str:
    """What a bot says, as soon as it says something."""
    for _ in range(50):
        logs = str((await client.result("logs", bot_id=bot_id))["logs"])
        if logs:
            break
        await asyncio.sleep(0.2)
    return logs


async def test_the_mode_is_given_to_the_worker_that_has_it(
    image_with_plugin: str, stack: EmbeddedStack, run_container: RunContainer
) -> None:
    client = Client(stack.url, stack.client_token)
    unknown = await client.error("start", bot_id="helper", **FAQ)
    assert unknown["code"] == "INVALID_DEPLOYMENT_MODE"

    container = await run_container(*as_in_the_readme(image_with_plugin, stack))
    for _ in range(300):
        if "in-a-container" in await stack.registered_workers():
            break
        await asyncio.sleep(0.1)

    for number in range(3):
        started = await client.result("start", bot_id=f"helper-{number}", **FAQ)
        assert (started.get("status"), started.get("mode")) == ("started", "faq"), started
        assert await first_words(client, f"helper-{number}") == "ready: 1 answers\n"
    assert (await client.result("stop", bot_id="helper-0"))["status"] == "stopped"
    # Other modes are both workers' to serve.
    started = await client.result("start", bot_id="plain", deployment_mode="simple", code=IDLE_BOT)
    assert started["status"] == "started"

    [other] = stack.workers
    start = re.compile(r"start_bot of '\w+'/'(helper-\d)'")
    assert start.findall(other.log.read_text()) == []
    assert set(start.findall(await docker("logs", container, accept_failure=True))) == {
        "helper-0",
        "helper-1",
        "helper-2",
    }
