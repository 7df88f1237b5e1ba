"""The README's two commands: a worker in a container starts nothing before the firewall's is there."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from tests.conftest import IDLE_BOT
from tests.images import readme
from tests.images.conftest import RunContainer, health
from tests.images.docker_cli import docker
from tests.images.test_worker_image import as_in_the_readme, registered
from tests.stack.conftest import client_of, sweep

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_stack.engine import bridge_address
from bot_runner_worker.testing.waiting import until

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(os.geteuid() != 0, reason="looks at the host's firewall: needs root"),
]


@pytest.fixture
def prefix() -> str:
    """Begins the names of this test's bridges, and of no others."""
    return f"t{uuid4().hex[:5]}-"


@pytest.fixture
async def stack(prefix: str) -> AsyncIterator[EmbeddedStack]:
    """An orchestrator without a worker, whose worker would keep to the defaults."""
    options = StackOptions(
        workers=0,
        host=await bridge_address(),
        orchestrator_env={"RETRY_ATTEMPTS": "1"},
        worker_env={
            "ISOLATION_REQUIRED": "on",
            "ISOLATION_PROBE": "local",
            "BRIDGE_PREFIX": prefix,
            "STOP_GRACE_SECONDS": "1",
        },
    )
    async with EmbeddedStack(options) as made:
        yield made
        await sweep(made)


@pytest.fixture
async def firewall(worker_image: str, prefix: str) -> AsyncIterator[list[str]]:
    """Arguments of the README's ``docker run`` for the firewall; what it has done is undone."""
    words = readme.docker_run("README.md", "bot-runner-firewall")
    assert words == readme.docker_run("README.ru.md", "bot-runner-firewall")
    assert words[:3] == ["docker", "run", "-d"]
    image = words.index("bot-runner-worker:latest")
    options = [*words[5:image], "-e", f"BRIDGE_PREFIX={prefix}"]  # without its name
    yield [*options, worker_image, *words[image + 1 :]]
    options = [word for word in options if word not in ("--restart", "always")]
    await docker("run", "--rm", *options, worker_image, "firewall", "remove")
    assert rules(prefix) == []


def rules(prefix: str) -> list[str]:
    """What leads from the kernel's chains to those of these bridges."""
    done = subprocess.run(
        ["iptables", "-w", "-t", "mangle", "-S"], capture_output=True, text=True, check=True
    )
    return [rule for rule in done.stdout.splitlines() if f"-i {prefix}+" in rule]


async def test_the_readmes_two_commands_start_bots_on_a_closed_host(
    worker_image: str,
    stack: EmbeddedStack,
    firewall: list[str],
    run_container: RunContainer,
    prefix: str,
) -> None:
    arguments = as_in_the_readme(worker_image, stack)
    worker = await run_container("-e", f"BRIDGE_PREFIX={prefix}", *arguments)
    await registered(stack)
    client = client_of(stack)
    bot = {"bot_id": "bot", "deployment_mode": "simple", "code": IDLE_BOT}
    refused = await client.error("start", **bot)
    assert refused["code"] == "NOT_ISOLATED", refused
    command = f"--network host --cap-add NET_ADMIN -e BRIDGE_PREFIX={prefix} bot-runner-worker firewall apply"
    assert command in refused["hint"]
    assert "isolation: degraded (" in await health(worker)

    keeper = await run_container(*firewall)
    started = await client.result("start", **bot)
    assert started["status"] == "started", started

    async def ready() -> bool:
        return await health(worker) == ""

    await until(ready, 90, "the worker's next look")
    before = rules(prefix)
    for rule in before:
        await asyncio.to_thread(
            subprocess.run,
            ["iptables", "-w", "-t", "mangle", "-D", *rule.split()[1:]],
            check=True,
            timeout=20,
        )
    await until(lambda: rules(prefix) == before, 60, "the rules' return")
    assert "Put back" in await docker("logs", keeper)
    assert (await client.result("stop", bot_id="bot"))["status"] == "stopped"
