"""Stand-ins on this machine for what a bot must not reach, and rules on bridges of the test's own."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest

from bot_runner_worker.isolation.firewall import Firewall, rules_of

PORT = 8081
OTHER_PORT = 8082

FORWARDED = {
    "metadata": "169.254.169.254",
    "Azure's host agent": "168.63.129.16",
    "private": "192.168.213.77",
    "shared": "100.100.100.200",
    "benchmark": "198.18.77.1",
}
"""Closed addresses, in a network namespace behind the host."""

HOST_LOCAL = "169.254.170.2"
"""A metadata address that the host itself answers."""

PUBLIC = "11.22.33.44"
"""A public address: open before and after. Routed to the namespace, so that no packet leaves the machine."""

LISTENER = f"""
import socket, time
def listen(port):
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
servers = [listen(port) for port in ({PORT}, {OTHER_PORT})]
print("ready", flush=True)
time.sleep(3600)
"""

CONNECT = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(target):
    try:
        socket.create_connection(tuple(target), timeout=2).close()
    except OSError:
        return False
    return True
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(answers, targets))))
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what changes the host's network, where that is not possible."""
    missing = [name for name in ("ip", "iptables", "ip6tables") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        for item in items:
            if "host_network" in getattr(item, "fixturenames", ()):
                item.add_marker(
                    pytest.mark.skip(reason="changes the host's network: needs root and iptables")
                )


def ip(*arguments: str) -> None:
    """Run ``ip``."""
    subprocess.run(("ip", *arguments), check=True, capture_output=True, timeout=10)


@contextmanager
def locked_host_network() -> Iterator[None]:
    """The right to change this host's network: the addresses of stand-ins exist once on a machine."""
    with (Path(tempfile.gettempdir()) / "bot-runner-tests-host-network.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def host_network() -> Iterator[None]:
    """See :func:`locked_host_network`."""
    with locked_host_network():
        yield


@pytest.fixture
def stand_ins(host_network: None) -> Iterator[str]:
    """See :func:`stand_ins_on_this_machine`."""
    with stand_ins_on_this_machine() as namespace:
        yield namespace


@contextmanager
def stand_ins_on_this_machine() -> Iterator[str]:
    """The addresses of :data:`FORWARDED`, :data:`HOST_LOCAL` and :data:`PUBLIC`, with listeners.

    Yields the name of the network namespace that the forwarded ones are in.
    """
    name = f"brt{uuid4().hex[:8]}"
    with ExitStack() as stack:
        ip("netns", "add", name)
        stack.callback(ip, "netns", "delete", name)
        ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}n", "netns", name)
        # At once: the namespace's end takes the kernel a moment, in which the routes are still there.
        stack.callback(ip, "link", "delete", f"{name}h")
        ip("address", "add", "198.19.77.1/30", "dev", f"{name}h")
        ip("link", "set", f"{name}h", "up")
        ip("-n", name, "address", "add", "198.19.77.2/30", "dev", f"{name}n")
        ip("-n", name, "link", "set", f"{name}n", "up")
        for address in (*FORWARDED.values(), PUBLIC):
            ip("-n", name, "address", "add", f"{address}/32", "dev", f"{name}n")
            ip("route", "add", f"{address}/32", "via", "198.19.77.2")
        # A bridge without ports does what a dummy interface does, which not every kernel has.
        ip("link", "add", f"{name}d", "type", "bridge")
        stack.callback(ip, "link", "delete", f"{name}d")
        ip("address", "add", f"{HOST_LOCAL}/32", "dev", f"{name}d")
        ip("link", "set", f"{name}d", "up")
        stack.enter_context(listener("ip", "netns", "exec", name))
        stack.enter_context(listener())
        yield name


@contextmanager
def listener(*before: str) -> Iterator[None]:
    """A process that listens on all addresses where it runs."""
    command = (*before, sys.executable, "-I", "-c", LISTENER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@dataclass(frozen=True)
class Bot:
    """A running bot, seen from inside."""

    runner: RunnerUnderTest
    container: str

    async def run(self, program: str, *arguments: str) -> str:
        """Run a Python program in the bot's container and return what it prints."""
        engine = self.runner.engine
        body = {"Cmd": ["python", "-c", program, *arguments], "AttachStdout": True, "Tty": True}
        created = await engine.json("POST", f"containers/{self.container}/exec", body=body)
        async with engine.request(
            "POST",
            f"exec/{created['Id']}/start",
            data=json.dumps({"Detach": False, "Tty": True}).encode(),
            headers={"Content-Type": "application/json"},
        ) as response:
            return (await response.read()).decode()

    async def reaches(self, *targets: tuple[str, int]) -> list[bool]:
        """To which of these the bot can connect."""
        answer: list[bool] = json.loads(await self.run(CONNECT, json.dumps(targets)))
        return answer

    async def gateway(self) -> str:
        """The host's address on the bot's bridge."""
        return str((await self._network())["Gateway"])

    async def address(self) -> str:
        """The bot's own address."""
        return str((await self._network())["IPAddress"])

    async def _network(self) -> dict[str, Any]:
        found = await self.runner.engine.json("GET", f"containers/{self.container}/json")
        (network,) = found["NetworkSettings"]["Networks"].values()
        return dict(network)


@pytest.fixture
def bridge_prefix() -> str:
    """Begins the names of this test's bridges, and of no others: rules for it touch no other test."""
    return f"t{uuid4().hex[:5]}-"


@pytest.fixture
async def guarded(
    host_network: None, make_runner: MakeRunner, bridge_prefix: str
) -> AsyncIterator[RunnerUnderTest]:
    """A runner whose bridges no rule speaks of yet; rules that the test applies are removed."""
    runner = await make_runner(bridge_prefix=bridge_prefix)
    yield runner
    Firewall(rules_of(runner.settings)).remove()


@pytest.fixture
async def bot(guarded: RunnerUnderTest) -> Bot:
    """A bot of the guarded runner."""
    started = await guarded.start()
    assert started.ending == "success", started.data
    return Bot(guarded, started.data["container_id"])
