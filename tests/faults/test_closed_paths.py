"""From inside a bot, with the firewall applied: what has to be out of reach is, and the package index is not.

Each path is tried before the firewall is applied as well. What a bot must not reach are stand-ins on this
machine: no packet leaves it.
"""

import asyncio
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from tests.conftest import BASE_IMAGE, ENGINE, RunnerUnderTest
from tests.core.isolation.conftest import (
    FORWARDED,
    HOST_LOCAL,
    LISTENER,
    PORT,
    Bot,
    locked_host_network,
    stand_ins_on_this_machine,
)
from tests.core.isolation.test_firewall import INDEX, create_network

from bot_runner_worker.isolation.host import primary_address
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings

pytestmark = pytest.mark.faults

DOCKER_PORT = 2375
SOCKET = "/var/run/docker.sock"

CALL = """
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    try:
        s.connect(sys.argv[1])
    except OSError as error:
        print(type(error).__name__)
    else:
        print("open")
"""

CLOSED = [
    "a neighbour by its address",
    "a neighbour by its name",
    "the gateway",
    "the host's address",
    "metadata at 169.254.169.254",
    "metadata on the host itself",
    "an Engine's API on the gateway",
    "a private network",
]


@contextmanager
def listening(family: socket.AddressFamily, address: Any) -> Iterator[None]:
    """A server of the test's own that takes connections."""
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen()

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


class Inside:
    """Two bots to look out of: one in its own network, one beside a neighbour in an operator's network."""

    def __init__(self, own: Bot, shared: Bot, neighbour: Bot, name: str) -> None:
        self.own = own
        self._shared = shared
        self._neighbour = neighbour
        self._name = name

    async def reached(self) -> dict[str, bool]:
        """Which of :data:`CLOSED` are open."""
        gateway = await self.own.gateway()
        beside = [(await self._neighbour.address(), PORT), (self._name, PORT)]
        out = [
            *((each, PORT) for each in (gateway, str(primary_address()), FORWARDED["metadata"], HOST_LOCAL)),
            (gateway, DOCKER_PORT),
            (FORWARDED["private"], PORT),
        ]
        answers = [*await self._shared.reaches(*beside), *await self.own.reaches(*out)]
        return dict(zip(CLOSED, answers, strict=True))

    async def index(self) -> bool:
        """Whether the package index is open."""
        return (await self.own.run(INDEX)).split()[0] == "open"


def firewall(verb: str, settings: Settings, *allowed: str) -> None:
    """Run the operator's command."""
    environment = {
        **os.environ,
        "BRIDGE_PREFIX": settings.bridge_prefix,
        "FIREWALL_ALLOW": ",".join(allowed),
        "RUNNER_NAMESPACE": settings.runner_namespace,
    }
    command = [".venv/bin/bot-runner-worker", "firewall", verb]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)


async def make_runner(exits: AsyncExitStack, prefix: str, **settings: Any) -> RunnerUnderTest:
    """A runner whose bridges have this prefix, swept at the end."""
    namespace = f"fault-{uuid4().hex[:12]}"
    values = {"runner_namespace": namespace, "docker_network": f"{namespace}-net", "bridge_prefix": prefix}
    values |= {"worker_token": SecretStr("unused"), "docker_host": ENGINE, "base_image": BASE_IMAGE}
    runner = await exits.enter_async_context(Runner(Settings.load(**values, **settings)))
    exits.push_async_callback(runner.runtime.remove_all)
    return RunnerUnderTest(runner)


async def started(runner: RunnerUnderTest, **params: Any) -> tuple[Bot, str]:
    """A new bot, and the name of its container."""
    outcome = await runner.start(**params)
    assert outcome.ending == "success", outcome.data
    return Bot(runner, outcome.data["container_id"]), outcome.data["container_name"]


@pytest.fixture(scope="module")
async def found() -> AsyncIterator[dict[str, list[Any]]]:
    """What was open before the firewall was applied, and what afterwards."""
    async with AsyncExitStack() as exits:
        lock = locked_host_network()
        await asyncio.to_thread(lock.__enter__)
        exits.callback(lock.__exit__, None, None, None)
        exits.enter_context(stand_ins_on_this_machine())
        prefix = f"f{uuid4().hex[:5]}-"
        alone = await make_runner(exits, prefix)
        together = await make_runner(exits, prefix, network_mode="shared")
        await create_network(together, together.settings.docker_network, bridge=f"{prefix}hand")
        own, _ = await started(alone)
        shared, _ = await started(together, user_id="mallory")
        neighbour, name = await started(together, deployment_mode="simple", code=LISTENER)
        exits.enter_context(listening(socket.AF_INET, (await own.gateway(), DOCKER_PORT)))
        inside = Inside(own, shared, neighbour, name)

        answers: dict[str, list[Any]] = {each: [] for each in (*CLOSED, "index")}

        async def look() -> None:
            for each, reached in {**await inside.reached(), "index": await inside.index()}.items():
                answers[each].append(reached)

        # A company's own index may be at a private address.
        index = (await own.run(INDEX)).split()
        allowed = [":".join(index[1:])] if index[0] == "open" else []
        await look()
        exits.callback(firewall, "remove", alone.settings)
        firewall("apply", alone.settings, *allowed)
        await look()
        answers["socket"] = [
            await asyncio.to_thread(_socket_in_a_container_that_has_it),
            (await own.run(CALL, SOCKET)).strip(),
        ]
        yield answers


def _socket_in_a_container_that_has_it() -> str:
    """The same call from a container which the socket was mounted into; a stand-in for the Engine's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "docker.sock"
        with listening(socket.AF_UNIX, str(path)):
            mounted = ["--volume", f"{path}:{SOCKET}", "--network", "none"]
            command = ["docker", "run", "--rm", *mounted, BASE_IMAGE, "python3", "-c", CALL, SOCKET]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize("path", CLOSED)
async def test_out_of_reach(path: str, found: dict[str, list[Any]]) -> None:
    assert found[path] == [True, False]


async def test_the_docker_socket_is_out_of_reach(found: dict[str, list[Any]]) -> None:
    assert found["socket"] == ["open", "FileNotFoundError"]


async def test_the_package_index_is_within_reach(found: dict[str, list[Any]]) -> None:
    assert found["index"] == [True, True]
