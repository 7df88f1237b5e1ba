"""The Engine's disk is full: starts are refused with a clear error, what runs runs, there is a way back."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import pytest
from tests.conftest import IDLE_BOT
from tests.faults.bots import project, simple
from tests.faults.running import WORKER_ENV, PatientClient
from tests.faults.second_engine import SecondEngine
from tests.faults.state import State, settled

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import stays, until

pytestmark = pytest.mark.faults

DISK = 640
"""MiB; the base image takes about 150, and as much again while it is loaded."""

FLOOR = 64


@dataclass
class Machine:
    """An Engine with a small disk, and its runner with two bots that run."""

    docker: SecondEngine
    engine: Engine
    stack: EmbeddedStack
    client: PatientClient

    @contextmanager
    def filled(self, *, leaving: int) -> Iterator[None]:
        """The disk with so many MiB of room."""
        ballast = self.docker.data / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                room = shutil.disk_usage(self.docker.data).free
                # The file system needs some of the room to keep its books, and so does what runs meanwhile.
                os.posix_fallocate(file.fileno(), 0, room - max(leaving, 1) * 1024 * 1024)
                if leaving == 0:
                    file.seek(0, os.SEEK_END)
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(b"x" * 512)
            yield
        finally:
            ballast.unlink()

    async def state(self) -> State:
        """What is there, once nothing is left over."""
        return await settled(self.engine, self.stack.namespace)


@pytest.fixture(scope="module")
async def machine() -> AsyncIterator[Machine]:
    """The machine, with room on its disk."""
    async with AsyncExitStack() as exits:
        docker = SecondEngine(disk=DISK)
        exits.callback(docker.remove)
        await asyncio.to_thread(docker.set_up)
        env = {**WORKER_ENV, "DOCKER_HOST": docker.address, "MIN_FREE_DISK": f"{FLOOR}m"}
        options = StackOptions(worker_env=env, orchestrator_env={"RETRY_DELAY_SECONDS": "0.1"})
        stack = await exits.enter_async_context(EmbeddedStack(options))
        engine = await exits.enter_async_context(Engine(docker.address))
        made = Machine(docker, engine, stack, PatientClient(stack.url, stack.client_token))
        for bot_id in ("one", "two"):
            await made.client.starts(bot_id)
        yield made


async def test_below_the_floor_nothing_is_built(machine: Machine) -> None:
    with machine.filled(leaving=FLOOR // 2):
        error = await machine.client.error("start", bot_id="three", **project("below-the-floor"))
        assert error["code"] == "ENGINE_DISK_FULL"
        assert "disk" in error["message"].lower()
        assert error["hint"]
        assert (await machine.state()).running() == ["one", "two"]
    await _starts_again(machine, **project("below-the-floor"))


async def test_a_disk_that_fills_up_in_the_middle_of_a_build(machine: Machine) -> None:
    with machine.filled(leaving=FLOOR + 16):
        files = project("fills-up", "head -c 200M /dev/urandom >/big")
        error = await machine.client.error("start", bot_id="three", **files)
        assert error["code"] in ("ENGINE_DISK_FULL", "BUILD_FAILED", "BUILD_LIMIT_EXCEEDED"), error
        assert (await machine.state()).running() == ["one", "two"]
    await _starts_again(machine, **project("fills-up"))


async def test_not_a_byte_is_left(machine: Machine) -> None:
    with machine.filled(leaving=0):
        job = await machine.client.run("start", bot_id="three", **simple(IDLE_BOT + "# three\n"))
        error = job["result"]["error"]
        assert error["code"] == "ENGINE_DISK_FULL", error
        assert error["hint"]
        listed = (await machine.client.result("list"))["bots"]
        # The third one is what the tests before have stopped.
        assert {each["bot_id"]: each["status"] for each in listed} == {
            "one": "running",
            "two": "running",
            "three": "stopped",
        }
        assert (await machine.client.result("logs", bot_id="one"))["logs"] == "ready\n"
    assert (await machine.state()).running() == ["one", "two"]
    await _starts_again(machine, **simple(IDLE_BOT + "# three\n"))


async def test_a_bot_can_be_stopped_when_not_a_byte_is_left(machine: Machine) -> None:
    with machine.filled(leaving=0):
        assert (await machine.client.result("stop", bot_id="two")).get("status") == "stopped"
        # Nobody takes it for a bot that should run.
        await stays(lambda: _is_stopped(machine), 3)
    # With room again, it is written down: another worker knows it as well.
    await until(lambda: _is_written_down(machine), 60, machine.stack.workers[0].log_tail)
    await machine.client.starts("two")


async def _is_stopped(machine: Machine) -> bool:
    return bool((await machine.client.result("status", bot_id="two")).get("status") == "stopped")


async def _is_written_down(machine: Machine) -> bool:
    label = "label=io.avtomatika.bot-runner.bot-id=two"
    container = machine.docker.docker("ps", "--all", "--quiet", "--filter", label)
    policy = machine.docker.docker("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", container)
    return policy == "no"


async def _starts_again(machine: Machine, **params: object) -> None:
    """With room on the disk, the same request is served; afterwards all is as before."""
    await machine.client.starts("three", **params)
    await machine.client.result("stop", bot_id="three")
    assert (await machine.state()).running() == ["one", "two"]
