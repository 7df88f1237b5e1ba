"""Fixtures of the tests that drive the whole stack."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine

TERMINAL = {"finished", "failed", "quarantined", "cancelled", "error"}


@dataclass
class Client:
    """A client of the orchestrator's HTTP API, as any front end would be."""

    url: str
    token: str
    seconds: float = 120
    jobs: list[dict[str, Any]] = field(default_factory=list)

    async def run(self, action: str, **data: Any) -> dict[str, Any]:
        """Post a job, wait for its end, and return the job."""
        timeout = aiohttp.ClientTimeout(total=self.seconds)
        headers = {"X-Client-Token": self.token}
        async with aiohttp.ClientSession(self.url, headers=headers, timeout=timeout) as session:
            body = {"initial_data": {"action": action, **data}}
            async with session.post("/api/jobs/bot_runner", json=body) as response:
                assert response.status == 202, await response.text()
                job_id = (await response.json())["job_id"]
            for _ in range(int(self.seconds / 0.1)):
                async with session.get(f"/api/jobs/{job_id}") as response:
                    job: dict[str, Any] = await response.json()
                if job["status"] in TERMINAL:
                    self.jobs.append(job)
                    return job
                await asyncio.sleep(0.1)
        raise AssertionError(f"the job did not end: {job}")

    async def result(self, action: str, **data: Any) -> dict[str, Any]:
        """The result of a job, which is there however it ended."""
        result: dict[str, Any] = (await self.run(action, **data))["result"]
        return result

    async def error(self, action: str, **data: Any) -> dict[str, Any]:
        """The error of a job that failed."""
        job = await self.run(action, **data)
        assert job["status"] == "failed"
        assert list(job["result"]) == ["error"]
        error: dict[str, Any] = job["result"]["error"]
        return error

    async def workers(self) -> list[dict[str, Any]]:
        """The registered workers."""
        headers = {"X-Client-Token": self.token}
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as session,
            session.get("/api/workers") as response,
        ):
            answer: list[dict[str, Any]] = await response.json()
            return answer


async def sweep(stack: EmbeddedStack) -> None:
    """Remove all that the stack's runner made, once its workers have ended: they would make some anew."""
    for worker in stack.workers:
        await worker.stop(grace_seconds=stack.options.stop_seconds)
    process = await asyncio.create_subprocess_exec(
        *(".venv/bin/bot-runner-worker", "remove-all", "--yes"),
        env=stack.worker_environment(),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """The Engine that the stack runs on."""
    async with Engine(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")) as connected:
        yield connected


@pytest.fixture
async def stack() -> AsyncIterator[EmbeddedStack]:
    """Orchestrator and worker with settings that suit tests; swept afterwards."""
    async with EmbeddedStack(StackOptions(worker_env={"STOP_GRACE_SECONDS": "2"})) as running:
        try:
            yield running
        finally:
            await sweep(running)


@pytest.fixture
def client(stack: EmbeddedStack) -> Client:
    """A client of that stack."""
    return Client(stack.url, stack.client_token)
