"""Fixtures of the images' tests: the two images, built from this checkout as an operator would.

Their tags stay on the Engine, so that the next build finds its layers: ``localhost/bot-runner-worker`` and
``localhost/bot-runner-orchestrator``, each with ``:test`` and ``:test-build`` (its build stage).
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol
from uuid import uuid4

import pytest
from tests.conftest import BASE_IMAGE
from tests.images.docker_cli import REPOSITORY, build, docker, inspect

from bot_runner_worker.testing.waiting import until

DOCKERFILES = {
    "worker": REPOSITORY / "Dockerfile",
    "orchestrator": REPOSITORY / "orchestrator" / "Dockerfile",
}


async def _build(name: str) -> str:
    tag = f"localhost/bot-runner-{name}:test"
    dockerfile = DOCKERFILES[name]
    # Without a tag, each change would leave one more build stage on the Engine.
    await build(f"{tag}-build", dockerfile=dockerfile, target="build", BASE_IMAGE=BASE_IMAGE)
    await build(tag, dockerfile=dockerfile, BASE_IMAGE=BASE_IMAGE)
    return tag


@pytest.fixture(scope="session")
async def worker_image() -> str:
    """The worker's image."""
    return await _build("worker")


@pytest.fixture(scope="session")
async def orchestrator_image() -> str:
    """The orchestrator's image."""
    return await _build("orchestrator")


class RunContainer(Protocol):
    """Runs ``docker run --detach`` with these arguments and a name of its own, which it returns."""

    async def __call__(self, *arguments: str) -> str: ...


@pytest.fixture
async def run_container() -> AsyncIterator[RunContainer]:
    """A function that runs containers, which are removed afterwards; pytest shows their logs on failure."""
    async with AsyncExitStack() as endings:

        async def run(*arguments: str) -> str:
            name = f"bot-runner-image-test-{uuid4().hex[:12]}"

            async def remove() -> None:
                print(await docker("logs", name, accept_failure=True))
                await docker("rm", "--force", "--volumes", name, accept_failure=True)

            endings.push_async_callback(remove)
            await docker("run", "--detach", "--name", name, "--label", "bot-runner-image-test", *arguments)
            return name

        yield run


async def wait_until_healthy(container: str, seconds: float = 30) -> None:
    """Wait until the image's own check says that all is well."""

    async def healthy() -> bool:
        state = await docker("inspect", "--format", "{{.State.Health.Status}}", container)
        if state not in ("starting", "healthy"):
            raise AssertionError(await docker("inspect", "--format", "{{json .State}}", container))
        return state == "healthy"

    await until(healthy, seconds)


async def health(container: str, *options: str) -> str:
    """What the image's check says at once, with these options of ``docker exec``; empty if all is well."""
    kind, *command = (await inspect(container))["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    return await docker("exec", *options, container, *command, accept_failure=True)


async def stop(container: str) -> int:
    """Send SIGTERM, as ``docker stop`` does, and return the exit code; SIGKILL follows after 20 s."""
    await docker("stop", "--time", "20", container)
    return int(await docker("inspect", "--format", "{{.State.ExitCode}}", container))
