"""A stack whose worker may die at any moment: the worker talks through interceptors, and is started again."""

import asyncio
import json
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tests.conftest import ENGINE
from tests.faults.bots import simple
from tests.faults.interception import Interceptor, Point
from tests.stack.conftest import TERMINAL, Client, running

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_stack.processes import ManagedProcess
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.testing.waiting import until

WORKER_ENV = {
    "STOP_GRACE_SECONDS": "1",
    "MAX_BOTS_PER_USER": "100",
    "HEALTH_ADDRESS": "off",
    # A few: several stacks share the machine.
    "NETWORKS_AHEAD": "2",
    # The SDK's own: what is waited for in between two tries.
    "HEARTBEAT_INTERVAL": "1",
}


PATIENCE = {"WORKER_WAIT_SECONDS": "50"}
"""The orchestrator's: jobs wait for a worker that is on its way back, on a busy machine, too."""


class PatientClient(Client):
    """A client of an orchestrator that may be away."""

    async def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now; empty while the orchestrator does not answer."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._session() as session, session.get(f"/api/jobs/{job_id}") as response:
                answer: dict[str, Any] = await response.json() if response.status == 200 else {}
                return answer
        return {}

    async def starts(self, bot_id: str, **params: Any) -> dict[str, Any]:
        """Start a bot, by default a small one, and return the result."""
        started = await self.result("start", bot_id=bot_id, **(params or simple()))
        assert started.get("status") == "started", started
        return started


@dataclass
class InterceptedStack:
    """A stack with one worker, between which and its servers we stand."""

    stack: EmbeddedStack
    client: PatientClient
    to_engine: Interceptor
    to_orchestrator: Interceptor

    @property
    def worker(self) -> ManagedProcess:
        """The worker's process."""
        return self.stack.workers[0]

    async def kill_at(self, link: Interceptor, point: Point, action: str, **data: Any) -> str:
        """Post a job, let the worker be killed at a point of it, start the worker again; returns the job."""
        link.arm(point, self.worker.kill)
        try:
            job_id = await self.client.post(action, **data)

            async def killed() -> bool:
                assert "status" not in (job := await self.client.job(job_id)) or (
                    job["status"] not in TERMINAL or not link.armed
                ), f"the job ended without passing {point}: {job}\n{self.worker.log_tail(5)}"
                return not link.armed

            await until(killed, 60, lambda: f"{point} is passed\n{self.worker.log_tail(8)}")
        finally:
            link.disarm()
        assert not self.worker.running
        self.worker.start()
        return job_id


@asynccontextmanager
async def running_stack(**options: Any) -> AsyncIterator[tuple[EmbeddedStack, PatientClient]]:
    """A stack and its client; swept afterwards."""
    async with running(**{"worker_env": WORKER_ENV, **options}) as stack:
        yield stack, PatientClient(stack.url, stack.client_token)


@asynccontextmanager
async def intercepted_stack(env: Mapping[str, str] | None = None) -> AsyncIterator[InterceptedStack]:
    """Orchestrator and worker with interceptors in between; swept afterwards."""
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bot-runner-faults-")))
        stack, client = await exits.enter_async_context(
            running_stack(workers=0, worker_env={**WORKER_ENV, **(env or {})})
        )
        to_engine = await exits.enter_async_context(Interceptor(ENGINE, folder / "engine.sock"))
        to_orchestrator = await exits.enter_async_context(Interceptor(stack.url))
        worker = await stack.start_worker(
            {"DOCKER_HOST": to_engine.address, "ORCHESTRATOR_URL": to_orchestrator.address}
        )
        yield InterceptedStack(stack, client, to_engine, to_orchestrator)
        # Before its interceptors, or it would wait for them.
        worker.kill()


async def readiness(address: str) -> int:
    """What ``/ready`` answers: 200, 503, or 0 if nobody does within 5 s."""
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{address}/ready") as response,
        ):
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


class History:
    """The orchestrator's history, where the bots' events end up.

    Args:
        database: Its file.
    """

    def __init__(self, database: Path) -> None:
        self._database = database

    @property
    def environment(self) -> dict[str, str]:
        """The orchestrator's setting."""
        return {"HISTORY_DATABASE_URI": f"sqlite:{self._database}"}

    def events(self, bot_id: str) -> list[tuple[str, dict[str, Any]]]:
        """The kinds and payloads of a bot's events, oldest first."""
        with closing(sqlite3.connect(self._database)) as connection:
            rows = connection.execute(
                "SELECT event_type, context_snapshot FROM job_history ORDER BY rowid"
            ).fetchall()
        found = [
            (kind.removeprefix("worker_event:"), json.loads(snapshot)["payload"])
            for kind, snapshot in rows
            if kind.startswith("worker_event:bot_")
        ]
        return [each for each in found if each[1]["bot_id"] == bot_id]

    async def has(self, bot_id: str, kind: str) -> dict[str, Any]:
        """Wait for an event and return its payload."""

        def told() -> list[dict[str, Any]]:
            return [payload for each, payload in self.events(bot_id) if each == kind]

        found = await until(told, 90, lambda: f"{kind} of {bot_id}: {self.events(bot_id)}")
        payload: dict[str, Any] = found[-1]
        return payload


@asynccontextmanager
async def under_way(
    work: Mapping[str, Coroutine[Any, Any, None]],
) -> AsyncIterator[Mapping[str, Awaitable[None]]]:
    """Work that goes on at the same time, by name: a test awaits its own."""
    tasks = {name: asyncio.create_task(each) for name, each in work.items()}
    try:
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def docker(*arguments: str) -> str:
    """Run a ``docker`` command."""
    process = await asyncio.create_subprocess_exec(
        *("docker", "--host", ENGINE, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode().strip()


@asynccontextmanager
async def builds_end(stack: EmbeddedStack) -> AsyncIterator[None]:
    """Let builds that are held end, those that begin meanwhile, too."""
    labels = {NAMESPACE: stack.namespace, ROLE: BUILD_ROLE}
    filters = [part for item in labels.items() for part in ("--filter", "label=" + "=".join(item))]

    async def end_them() -> None:
        while True:
            for build in (await docker("ps", "--quiet", *filters)).split():
                with suppress(AssertionError):  # it has ended just now
                    await docker("exec", build, "touch", "/tmp/end")
            await asyncio.sleep(0.2)

    async with under_way({"builds": end_them()}):
        yield
