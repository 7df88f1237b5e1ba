"""A stack whose worker may die at any moment: the worker talks through interceptors, and is started again."""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from tests.conftest import ENGINE
from tests.faults.interception import Interceptor, Point
from tests.faults.state import until
from tests.stack.conftest import TERMINAL, Client, sweep

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_stack.processes import ManagedProcess

WORKER_ENV = {
    "STOP_GRACE_SECONDS": "2",
    "MAX_BOTS_PER_USER": "100",
    "HEALTH_ADDRESS": "off",
    # A few: several stacks share the machine.
    "NETWORKS_AHEAD": "2",
    # The SDK's own: what is waited for in between two tries.
    "HEARTBEAT_INTERVAL": "2",
}


class PatientClient(Client):
    """A client that can post a job and look at it later, whatever happens to the orchestrator meanwhile."""

    async def post(self, action: str, **data: Any) -> str:
        """Post a job and return its id."""
        async with self._session() as session:
            body = {"initial_data": {"action": action, **data}}
            async with session.post("/api/jobs/bot_runner", json=body) as response:
                assert response.status == 202, await response.text()
                return str((await response.json())["job_id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now; empty while the orchestrator does not answer."""
        try:
            async with self._session() as session, session.get(f"/api/jobs/{job_id}") as response:
                answer: dict[str, Any] = await response.json() if response.status == 200 else {}
                return answer
        except (aiohttp.ClientError, TimeoutError):
            return {}

    async def end_of(
        self, job_id: str, *, seconds: float = 60, log: Callable[[], str] = str
    ) -> dict[str, Any]:
        """Wait for a job's end and return the job; what `log` returns is told if it does not come."""
        job: dict[str, Any] = {}

        async def ended() -> bool:
            nonlocal job
            job = await self.job(job_id)
            return job.get("status") in TERMINAL

        await until(ended, seconds=seconds, complaint=lambda: f"the job did not end: {job}\n{log()}")
        return job

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=10)
        return aiohttp.ClientSession(self.url, headers={"X-Client-Token": self.token}, timeout=timeout)


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

            await until(killed, complaint=lambda: f"{point} was not passed\n{self.worker.log_tail(8)}")
        finally:
            link.disarm()
        assert not self.worker.running
        self.worker.start()
        return job_id


@asynccontextmanager
async def intercepted_stack(env: Mapping[str, str] | None = None) -> AsyncIterator[InterceptedStack]:
    """Orchestrator and worker with interceptors in between; swept afterwards."""
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bot-runner-faults-")))
        stack = EmbeddedStack(StackOptions(workers=0, worker_env={**WORKER_ENV, **(env or {})}))
        exits.push_async_callback(stack.stop)
        await stack.start_orchestrator()
        to_engine = await exits.enter_async_context(Interceptor(ENGINE, folder / "engine.sock"))
        to_orchestrator = await exits.enter_async_context(Interceptor(stack.url))
        exits.push_async_callback(sweep, stack)
        await stack.start_worker(
            {"DOCKER_HOST": to_engine.address, "ORCHESTRATOR_URL": to_orchestrator.address}
        )
        client = PatientClient(stack.url, stack.client_token)
        yield InterceptedStack(stack, client, to_engine, to_orchestrator)
        await asyncio.to_thread(stack.workers[0].kill)


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

    async def has(self, bot_id: str, kind: str, *, seconds: float = 60) -> dict[str, Any]:
        """Wait for an event and return its payload."""

        async def told() -> Any:
            return [payload for each, payload in self.events(bot_id) if each == kind]

        found: list[dict[str, Any]] = await until(
            told, seconds=seconds, complaint=lambda: f"no {kind} of {bot_id}: {self.events(bot_id)}"
        )
        return found[-1]


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
