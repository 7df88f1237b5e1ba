"""A bot stays up over 200 worker restarts under load, and its deadline does not move.

Two workers are killed, or told to end, over and over: some as soon as they are registered, some before.
Another tenant's bots are started and stopped meanwhile.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.faults import nursery
from tests.faults.bots import simple
from tests.faults.running import WORKER_ENV, PatientClient
from tests.faults.state import settled, until
from tests.stack.conftest import sweep

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine

pytestmark = [
    pytest.mark.fault, pytest.mark.stack, pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip

RESTARTS = 200
WORKERS = ("one", "two")
LOADS = 3


class Nursery:
    """Where workers come from, see :mod:`tests.faults.nursery`.

    Args:
        stack: Whose workers they are.
        folder: For their logs, and to run in.
    """

    def __init__(self, stack: EmbeddedStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, nursery.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )
        self._turn = asyncio.Lock()
        self._workers: list[Worker] = []

    async def worker(self, name: str) -> "Worker":
        """A new process of the worker of this name."""
        environment = self._stack.worker_environment(f"{self._stack.namespace}-{name}")
        log = self._folder / f"{name}.log"
        log.touch()  # the worker opens it only when it is up
        offset = log.stat().st_size
        order = {"environment": environment, "log": str(log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Of two that wait for an answer at once, one may get the other's or none: readline drops lines then.
        async with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            answer = await asyncio.to_thread(self._process.stdout.readline)
        self._workers.append(Worker(int(answer), log, offset))
        return self._workers[-1]

    def close(self) -> None:
        """No more workers; those that a failed test has left are killed."""
        for worker in self._workers:
            worker.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Worker:
    """A worker's process.

    Args:
        pid: Its id.
        log: What it says.
        offset: Where in there it begins.
    """

    def __init__(self, pid: int, log: Path, offset: int) -> None:
        self._pid = pid
        self._log = log
        self._offset = offset
        self._ended = False

    async def registered(self) -> None:
        """Wait until the orchestrator knows it."""

        async def said() -> bool:
            with self._log.open("rb") as file:
                file.seek(self._offset)
                return b"Successfully registered" in file.read()

        await until(said, complaint=lambda: self._log.read_text()[self._offset :][-2000:])

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait for the end."""
        os.kill(self._pid, how)

        async def gone() -> bool:
            return not await asyncio.to_thread(os.path.exists, f"/proc/{self._pid}")

        await until(gone, seconds=60, complaint=lambda: self._log.read_text()[-2000:])
        self._ended = True

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if not self._ended:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack() -> AsyncIterator[EmbeddedStack]:
    """An orchestrator for two users, still without a worker."""
    with tempfile.TemporaryDirectory(prefix="bot-runner-faults-") as folder:
        clients = Path(folder) / "clients.toml"
        clients.write_text(
            '[alice]\ntoken = "alice"\nuser_id = "alice"\n[mallory]\ntoken = "mallory"\nuser_id = "mallory"\n'
        )
        options = StackOptions(
            workers=0,
            worker_env={**WORKER_ENV, "DRAIN_SECONDS": "0"},
            orchestrator_env={"CLIENTS_CONFIG_PATH": str(clients)},
        )
        async with EmbeddedStack(options) as running:
            yield running
            await sweep(running)


async def test_a_bot_stays_up_over_200_restarts(stack: EmbeddedStack, engine: Engine, tmp_path: Path) -> None:
    alice, mallory = PatientClient(stack.url, "alice"), PatientClient(stack.url, "mallory")
    async with AsyncExitStack() as exits:
        workers = Nursery(stack, tmp_path)
        exits.callback(workers.close)
        first = await workers.worker(WORKERS[0])
        started = await alice.result("start", bot_id="steady", **simple())
        assert started.get("status") == "started", started
        before = await _life(engine, started["container_id"])
        await first.end(signal.SIGKILL)

        enough = asyncio.Event()
        loads = [asyncio.create_task(_load(mallory, f"load-{n}", enough)) for n in range(LOADS)]
        rounds = RESTARTS // len(WORKERS)
        await asyncio.gather(*(_restarted(workers, name, rounds) for name in WORKERS))
        enough.set()
        last = [await workers.worker(name) for name in WORKERS]
        for worker in last:
            exits.push_async_callback(worker.end, signal.SIGTERM)
        served = sum([await asyncio.wait_for(load, 120) for load in loads])

        assert served >= LOADS, "there was no load to speak of"
        assert await _life(engine, started["container_id"]) == before
        report = await alice.result("status", bot_id="steady")
        assert (report["status"], report["restart_count"]) == ("running", 0)
        assert report["expires_at"] == started["expires_at"]
        state = await settled(engine, stack.namespace, seconds=90)
        assert state.running() == ["steady"]
        assert len(state.bots) == 1 + LOADS


async def _restarted(workers: Nursery, name: str, rounds: int) -> None:
    """One worker, started and ended again and again."""
    moments = random.Random(name)
    for number in range(rounds):
        worker = await workers.worker(name)
        if moments.random() < 0.5:
            await worker.registered()
        await asyncio.sleep(moments.uniform(0, 0.5))
        await worker.end((signal.SIGKILL, signal.SIGTERM)[number % 2])


async def _load(client: PatientClient, bot_id: str, enough: asyncio.Event) -> int:
    """Start and stop a bot until told that it is enough; how many requests were served."""
    served = 0
    while not enough.is_set():
        for action, params in (("start", simple()), ("stop", {})):
            ended = await client.end_of(await client.post(action, bot_id=bot_id, **params), seconds=120)
            served += "error" not in ended["result"]
    stopped: dict[str, Any] = await client.result("stop", bot_id=bot_id)
    assert stopped.get("status") == "stopped", stopped
    return served


async def _life(engine: Engine, container: str) -> Any:
    """What changes if a bot dies, or is given another deadline."""
    found = await engine.json("GET", f"containers/{container}/json")
    state = found["State"]
    return (
        state["StartedAt"],
        state["Pid"],
        state["Running"],
        found["RestartCount"],
        found["Config"]["Labels"],
    )
