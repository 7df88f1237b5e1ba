"""The whole stack in a namespace of the run: a real orchestrator, a real worker, a client that posts jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from benchmarks.bench import STOP_GRACE_SECONDS, Bench
from benchmarks.leftovers import NAMESPACE_PREFIX
from bot_runner_stack.embedded import EmbeddedStack, StackOptions

POLL_SECONDS = 0.1
"""Between two questions after a job: its end is not what is measured, and asking takes time from the rest."""

TERMINAL = {"finished", "failed", "quarantined", "cancelled", "error"}


@asynccontextmanager
async def stack(bench: Bench, name: str, **worker_env: str) -> AsyncIterator[EmbeddedStack]:
    """Orchestrator and worker; what they make goes with the run.

    Args:
        bench: The run.
        name: Tells the namespace from others of the run.
        worker_env: Further settings of the worker, by variable.
    """
    settings = {
        "BASE_IMAGE": bench.base,
        "STOP_GRACE_SECONDS": str(STOP_GRACE_SECONDS),
        "MAX_BOTS_PER_USER": "100",
        "HEALTH_ADDRESS": "off",
        **worker_env,
    }
    options = StackOptions(namespace=f"{NAMESPACE_PREFIX}{bench.run}-{name}", worker_env=settings)
    async with EmbeddedStack(options) as running:
        yield running


class Client:
    """A client of the orchestrator.

    Args:
        stack: Where.
        session: Connections that are kept.
    """

    def __init__(self, stack: EmbeddedStack, session: aiohttp.ClientSession) -> None:
        self._url = f"{stack.url}/api/jobs"
        self._headers = {"X-Client-Token": stack.client_token}
        self._session = session

    async def run(self, action: str, **data: Any) -> dict[str, Any]:
        """Post a job and wait for its end; returns its result.

        Raises:
            RuntimeError: If it does not finish well.
        """
        body = {"initial_data": {"action": action, **data}}
        async with self._session.post(
            f"{self._url}/bot_runner", json=body, headers=self._headers, raise_for_status=True
        ) as response:
            job_id = (await response.json())["job_id"]
        while True:
            await asyncio.sleep(POLL_SECONDS)
            async with self._session.get(f"{self._url}/{job_id}", headers=self._headers) as response:
                job = await response.json()
            if job["status"] in TERMINAL:
                break
        if job["status"] != "finished":
            raise RuntimeError(f"the job {action} ended as {job['status']}: {job.get('result')}")
        result: dict[str, Any] = job["result"]
        return result


@asynccontextmanager
async def client_of(running: EmbeddedStack) -> AsyncIterator[Client]:
    """A client of a stack."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield Client(running, session)
