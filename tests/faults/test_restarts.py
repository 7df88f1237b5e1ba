"""A bot stays up over 200 worker restarts under load, and its deadline does not move.

The active worker and its standby are killed, or told to end, over and over: some as soon as they are
registered, some before. Another tenant's bots are started and stopped meanwhile.
"""

import asyncio
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.faults import nursery
from tests.faults.bots import simple
from tests.faults.running import WORKER_ENV, PatientClient, running_stack
from tests.faults.state import settled

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.faults

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
        self._process = os.pidfd_open(pid)  # its number is soon another's
        self._log = log
        self._offset = offset

    async def registered(self) -> None:
        """Wait until the orchestrator knows it."""
        await until(lambda: "Successfully registered" in self._said(), 90, self._said)

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait for the end."""
        signal.pidfd_send_signal(self._process, how)
        await until(lambda: select.select([self._process], [], [], 0)[0], 90, self._said)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        os.close(self._process)

    def _said(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            return file.read().decode(errors="replace")


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[EmbeddedStack]:
    """An orchestrator for two users, still without a worker."""
    with tempfile.TemporaryDirectory(prefix="bot-runner-faults-") as folder:
        clients = Path(folder) / "clients.toml"
        clients.write_text(
            '[alice]\ntoken = "alice"\nuser_id = "alice"\n[mallory]\ntoken = "mallory"\nuser_id = "mallory"\n'
        )
        env = {**WORKER_ENV, "DRAIN_SECONDS": "0"}
        async with running_stack(
            workers=0, worker_env=env, orchestrator_env={"CLIENTS_CONFIG_PATH": str(clients)}
        ) as (running, _):
            yield running


async def test_a_bot_stays_up_over_200_restarts(stack: EmbeddedStack, engine: Engine, tmp_path: Path) -> None:
    alice, mallory = PatientClient(stack.url, "alice"), PatientClient(stack.url, "mallory")
    async with AsyncExitStack() as exits:
        workers = Nursery(stack, tmp_path)
        exits.callback(workers.close)
        first = await workers.worker(WORKERS[0])
        started = await alice.starts("steady")
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
        served = sum(await asyncio.gather(*loads))

        assert served >= LOADS, "there was no load to speak of"
        assert await _life(engine, started["container_id"]) == before
        report = await alice.result("status", bot_id="steady")
        assert (report["status"], report["restart_count"]) == ("running", 0)
        assert report["expires_at"] == started["expires_at"]
        state = await settled(engine, stack.namespace)
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
            ended = await client.end_of(await client.post(action, bot_id=bot_id, **params))
            served += "error" not in ended["result"]
    # Whatever became of those: from now on the workers live.
    await client.result("start", bot_id=bot_id, **simple())
    stopped = await client.result("stop", bot_id=bot_id)
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
