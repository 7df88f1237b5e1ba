"""The orchestrator's image answers at its port, is not root, keeps a history, and ends at SIGTERM."""

import aiohttp
import pytest
from tests.conftest import BASE_IMAGE
from tests.images.conftest import RunContainer, health, stop, wait_until_healthy
from tests.images.docker_cli import docker, inspect

pytestmark = pytest.mark.images

# Checked more often than in earnest, and not blamed for the time that it takes to start on a busy machine.
HEALTH = ("--health-interval", "0.5s", "--health-start-period", "30s")
SETTINGS = ("-e", "CLIENT_TOKEN=client", "-e", "GLOBAL_WORKER_TOKEN=worker", *HEALTH)


async def test_it_serves_its_api_until_sigterm(orchestrator_image: str, run_container: RunContainer) -> None:
    container = await run_container(*SETTINGS, orchestrator_image)
    await wait_until_healthy(container)
    address = (await inspect(container))["NetworkSettings"]["IPAddress"]
    job = {"initial_data": {"action": "list"}}

    async with aiohttp.ClientSession(f"http://{address}:8000") as session:
        async with session.post("/api/jobs/bot_runner", json=job) as response:
            assert response.status == 401
        headers = {"X-Client-Token": "client"}
        async with session.post("/api/jobs/bot_runner", json=job, headers=headers) as response:
            assert response.status == 202

    assert await stop(container) == 0


async def test_it_is_not_root_and_may_write_its_own_folder_only(
    orchestrator_image: str, run_container: RunContainer
) -> None:
    history = "HISTORY_DATABASE_URI=sqlite:/var/lib/bot-runner-orchestrator/history.sqlite"
    container = await run_container(*SETTINGS, "-e", history, orchestrator_image)
    await wait_until_healthy(container)

    assert await docker("exec", container, "id", "-u") == "10001"
    assert "history.sqlite" in await docker("exec", container, "ls", "/var/lib/bot-runner-orchestrator")
    assert "Permission denied" in await docker("exec", container, "touch", "/etc/x", accept_failure=True)


async def test_the_check_follows_the_port_and_notices_silence(
    orchestrator_image: str, run_container: RunContainer
) -> None:
    container = await run_container(*SETTINGS, "-e", "API_PORT=9000", orchestrator_image)
    await wait_until_healthy(container)

    said = await health(container, "--env", "API_PORT=9001")
    assert said.startswith("The orchestrator does not answer: ")


async def test_missing_settings_are_named(orchestrator_image: str) -> None:
    said = await docker("run", "--rm", orchestrator_image, accept_failure=True)
    assert "CLIENT_TOKEN is not set" in said
    with_one = ("-e", "CLIENT_TOKEN=token", orchestrator_image)
    said = await docker("run", "--rm", *with_one, accept_failure=True)
    assert "GLOBAL_WORKER_TOKEN is not set" in said


async def test_what_is_installed_fits_together(orchestrator_image: str) -> None:
    check = ("--entrypoint", "python3", orchestrator_image, "-m", "pip", "check")
    assert await docker("run", "--rm", *check) == "No broken requirements found."


async def test_it_is_small_and_says_what_it_is(orchestrator_image: str) -> None:
    image = await inspect(orchestrator_image)

    assert image["Size"] - (await inspect(BASE_IMAGE))["Size"] < 150_000_000
    version = await docker("run", "--rm", orchestrator_image, "--version")
    labelled = image["Config"]["Labels"]["org.opencontainers.image.version"]
    assert version == f"bot-runner-orchestrator {labelled}"
