"""The worker's image serves as the README says, takes others' plugins, and holds nothing it should not."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.conftest import BASE_IMAGE, IDLE_BOT
from tests.images import readme
from tests.images.conftest import RunContainer, health, stop, wait_until_healthy
from tests.images.docker_cli import build, docker, inspect
from tests.stack.conftest import Client, client_of, sweep

from bot_runner_stack import ports
from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_stack.engine import bridge_address
from bot_runner_worker.testing.waiting import until

MEGABYTE = 1_000_000


@dataclass
class Deployed:
    """A worker in a container, known to its orchestrator."""

    container: str
    client: Client


def as_in_the_readme(image: str, stack: EmbeddedStack) -> list[str]:
    """The README's ``docker run``, without its name, with the values of this test."""
    words = readme.docker_run("README.md")
    assert words[:3] == ["docker", "run", "-d"]
    assert words[-1] == "bot-runner-worker:latest"
    mine = stack.worker_environment("in-a-container") | {"BASE_IMAGE": BASE_IMAGE}
    arguments = words[3:-1]
    del arguments[(name := arguments.index("--name")) : name + 2]
    for at, word in enumerate(arguments):
        variable, assigned, _ = word.partition("=")
        if assigned:
            arguments[at] = f"{variable}={mine[variable]}"
    # What keeps tests apart on one Engine, and checks of health that come sooner.
    isolation = ("ISOLATION_REQUIRED", "ISOLATION_PROBE")
    for variable in ("RUNNER_NAMESPACE", "DOCKER_NETWORK", "BASE_IMAGE", *isolation):
        arguments += ["-e", f"{variable}={mine[variable]}"]
    return [*arguments, "--health-interval", "0.5s", "--health-start-period", "30s", image]


async def registered(stack: EmbeddedStack) -> None:
    """Wait for the worker in the container."""

    async def known() -> bool:
        return "in-a-container" in await stack.registered_workers()

    await until(known, 60, "the worker's registration")


@pytest.fixture
async def deployed(worker_image: str, run_container: RunContainer) -> AsyncIterator[Deployed]:
    """The worker's container beside an orchestrator process on this machine; its bots are swept."""
    async with EmbeddedStack(StackOptions(workers=0, host=await bridge_address())) as stack:
        container = await run_container(*as_in_the_readme(worker_image, stack))
        try:
            await registered(stack)
            yield Deployed(container, client_of(stack))
        finally:
            await sweep(stack)


async def disk_seen_by(container: str) -> dict[str, Any]:
    """What the worker's ``/health`` says of the Engine's disk."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9180/health').read().decode())"
    answer = json.loads(await docker("exec", container, "python3", "-c", ask))
    return dict(answer["disk"])


@pytest.mark.images
async def test_the_readmes_command_serves_bots_until_sigterm(deployed: Deployed) -> None:
    client = deployed.client
    started = await client.result("start", bot_id="bot", deployment_mode="simple", code=IDLE_BOT)
    assert started["status"] == "started", started
    assert (await client.result("status", bot_id="bot"))["status"] == "running"
    await wait_until_healthy(deployed.container)
    assert await health(deployed.container) == ""
    assert (await disk_seen_by(deployed.container))["free_bytes"] > 0, "without a mount of the Engine's data"
    assert (await client.result("stop", bot_id="bot"))["status"] == "stopped"

    assert await stop(deployed.container) == 0


@pytest.mark.images
async def test_a_worker_that_cannot_serve_runs_and_says_why(
    worker_image: str, run_container: RunContainer
) -> None:
    nowhere = ("-e", "DOCKER_HOST=tcp://127.0.0.1:9", "-e", "ORCHESTRATOR_URL=http://127.0.0.1:9")
    container = await run_container("-e", "WORKER_TOKEN=token", *nowhere, worker_image)

    async def not_ready() -> str:
        said = await health(container)
        return said if "The worker is not ready: " in said else ""

    said = await until(not_ready, 60)
    assert "Docker Engine: no answer at tcp://127.0.0.1:9" in said
    assert "orchestrator: " in said
    assert (await inspect(container))["State"]["Running"] is True


def test_both_readmes_show_the_same_commands() -> None:
    english, russian = readme.READMES
    assert readme.docker_run(english) == readme.docker_run(russian)
    assert readme.plugin_dockerfile(english) == readme.plugin_dockerfile(russian)


@pytest.mark.images
async def test_the_four_bundled_plugins_are_loaded(worker_image: str) -> None:
    plugins = json.loads(await docker("run", "--rm", worker_image, "plugins", "--json"))["plugins"]

    names = {plugin["name"]: plugin["status"] for plugin in plugins}
    assert names == dict.fromkeys(("simple", "custom_git", "custom_archive", "image"), "loaded")


@pytest.fixture
async def plugin_url(tmp_path: Path) -> AsyncIterator[str]:
    """Where a container can download the README's plugin as a wheel."""
    wheel = await asyncio.to_thread(_build_plugin, tmp_path)
    application = web.Application()
    application.router.add_static("/", wheel.parent)
    runner = web.AppRunner(application)
    await runner.setup()
    host = await bridge_address()
    port = ports.free_port(host)
    await web.TCPSite(runner, host, port).start()
    try:
        yield f"http://{host}:{port}/{wheel.name}"
    finally:
        await runner.cleanup()


def _build_plugin(tmp_path: Path) -> Path:
    project = tmp_path / "hello"
    project.mkdir()
    [code] = [block for block in readme.blocks("README.md", "python") if "@hookimpl" in block]
    [settings] = readme.blocks("README.md", "toml")
    (project / "hello_plugin.py").write_text(code)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["hello_plugin.py"]\n'
        + settings.replace("[project]", '[project]\nname = "bot-runner-plugin-hello"\nversion = "1.0"', 1)
    )
    wheels = tmp_path / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(wheels), str(project)], check=True, timeout=60)
    [wheel] = wheels.iterdir()
    return wheel


@pytest.mark.images
async def test_two_lines_add_a_third_partys_plugin(
    worker_image: str, plugin_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "image"
    folder.mkdir()
    dockerfile = readme.plugin_dockerfile("README.md")
    assert len(dockerfile.splitlines()) == 2
    (folder / "Dockerfile").write_text(
        dockerfile.replace("bot-runner-worker:latest", worker_image).replace(
            "somebody-elses-plugin", plugin_url
        )
    )
    tag = f"{worker_image}-plugin"
    try:
        said = await build(tag, folder=folder)
        modes = json.loads(await docker("run", "--rm", tag, "plugins", "--json"))["modes"]
        added = (await inspect(tag))["Size"] - (await inspect(worker_image))["Size"]
    finally:
        await docker("image", "rm", tag, accept_failure=True)

    assert modes["hello"] == {"hello": "a bot that greets"}
    assert modes["simple"]
    # The core is the one that is there: neither fetched again nor replaced, and no cache is left behind.
    assert "Requirement already satisfied: bot-runner-worker" in said
    assert "Successfully installed bot-runner-plugin-hello-1.0\n" in said
    assert added < MEGABYTE


@pytest.mark.images
async def test_what_is_installed_fits_together(worker_image: str) -> None:
    check = ("--entrypoint", "python3", worker_image, "-m", "pip", "check")
    assert await docker("run", "--rm", *check) == "No broken requirements found."


@pytest.mark.images
async def test_it_is_small(worker_image: str) -> None:
    added = (await inspect(worker_image))["Size"] - (await inspect(BASE_IMAGE))["Size"]

    assert added < 150 * MEGABYTE


@pytest.mark.images
async def test_no_compiler_cache_or_test_tool_is_left_in_it(worker_image: str) -> None:
    look = (
        "command -v gcc cc make;"
        "find /root/.cache /build /var/lib/apt/lists /var/cache/apt /var/log -type f 2>/dev/null;"
        "python3 -m pip list --format freeze | grep -i -E '^(hatchling|pytest|mypy|ruff|uv)=';"
        "true"
    )
    assert await docker("run", "--rm", "--entrypoint", "sh", worker_image, "-c", look) == ""


@pytest.mark.images
async def test_no_setting_or_secret_is_baked_in(worker_image: str) -> None:
    config = (await inspect(worker_image))["Config"]
    history = await docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", worker_image)

    base = (await inspect(BASE_IMAGE))["Config"]["Env"]
    added = {line.partition("=")[0] for line in config["Env"] if line not in base}
    assert added == {"PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION"}
    for word in ("token", "password", "secret", "index_url", "://"):
        assert word not in history.lower()


@pytest.mark.images
async def test_the_engine_and_registries_are_told_what_it_is(worker_image: str) -> None:
    config = (await inspect(worker_image))["Config"]

    version = await docker("run", "--rm", worker_image, "--version")
    assert version == f"bot-runner-worker {config['Labels']['org.opencontainers.image.version']}"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert config["StopSignal"] == "SIGTERM"
