"""Fixtures of the tests that drive the whole stack."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from tests.conftest import ENGINE
from tests.corpus.conftest import servers
from tests.corpus.servers import ALLOWED, Servers
from tests.registry import Registry, private_registry, registry_folder

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.model.identity import NAMESPACE, USER_ID
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.waiting import until

__all__ = ["private_registry", "registry_folder", "servers"]

TERMINAL = {"finished", "failed", "quarantined", "cancelled", "error"}
TENANTS = [f"tenant-{number}" for number in range(100)]
"""The users of a shared stack, one for each test."""


@dataclass
class Client:
    """A client of the orchestrator's HTTP API, as any front end would be."""

    url: str
    token: str
    seconds: float = 120
    user_id: str = "default"
    jobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What the command `bot-runner` needs to act for this client."""
        return {"BOT_RUNNER_URL": self.url, "BOT_RUNNER_TOKEN": self.token}

    async def post(self, action: str, **data: Any) -> str:
        """Post a job; returns its id."""
        async with (
            self._session() as session,
            session.post("/api/jobs/bot_runner", json={"initial_data": {"action": action, **data}}) as answer,
        ):
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["job_id"])

    async def end_of(self, job_id: str, *, seconds: float = 120) -> dict[str, Any]:
        """Wait for a job's end, whatever the orchestrator does in between, and return the job."""
        job: dict[str, Any] = {}

        async def ended() -> bool:
            nonlocal job
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._session() as session, session.get(f"/api/jobs/{job_id}") as answer:
                    job = await answer.json()
            return job.get("status") in TERMINAL

        await until(ended, seconds, lambda: f"the end of the job: {job}")
        return job

    async def run(self, action: str, **data: Any) -> dict[str, Any]:
        """Post a job, wait for its end, and return the job."""
        job = await self.end_of(await self.post(action, **data), seconds=self.seconds)
        self.jobs.append(job)
        return job

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

    async def cancel(self, job_id: str) -> None:
        """Cancel a job that is not over."""
        async with self._session() as session, session.post(f"/api/jobs/{job_id}/cancel") as answer:
            assert answer.status == 200, await answer.text()

    async def workers(self) -> list[dict[str, Any]]:
        """The registered workers."""
        async with self._session() as session, session.get("/api/workers") as response:
            answer: list[dict[str, Any]] = await response.json()
            return answer

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=self.seconds)
        return aiohttp.ClientSession(self.url, headers={"X-Client-Token": self.token}, timeout=timeout)


def client_of(stack: EmbeddedStack, **fields: Any) -> Client:
    """The client that the stack has by default."""
    return Client(stack.url, stack.client_token, **fields)


async def sweep(stack: EmbeddedStack) -> None:
    """Remove all that the stack's runner made, once its workers have ended: they would make some anew."""
    await asyncio.gather(*(worker.stop(grace_seconds=stack.options.stop_seconds) for worker in stack.workers))
    settings = Settings.load(
        worker_token="unused",
        docker_host=stack.worker_environment().get("DOCKER_HOST", ENGINE),
        runner_namespace=stack.namespace,
        docker_network=stack.network,
    )
    async with Runner(settings) as runner:
        await runner.runtime.remove_all()


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[EmbeddedStack]:
    """A stack with these options and bots that stop quickly; it is swept at the end."""
    options["worker_env"] = {"STOP_GRACE_SECONDS": "1"} | options.get("worker_env", {})
    # Tests ask for a job's state more often than a client would.
    options["orchestrator_env"] = {"CLIENT_REQUESTS_PER_MINUTE": "0"} | options.get("orchestrator_env", {})
    async with EmbeddedStack(StackOptions(**options)) as stack:
        try:
            yield stack
        finally:
            await sweep(stack)


@asynccontextmanager
async def _shared(folder: pytest.TempPathFactory, **worker_env: str) -> AsyncIterator[EmbeddedStack]:
    logs = folder.mktemp("stack")
    (logs / "clients.toml").write_text("".join(f'[{name}]\ntoken = "token-of-{name}"\n' for name in TENANTS))
    orchestrator = {
        "CLIENTS_CONFIG_PATH": str(logs / "clients.toml"),
        "CLIENT_MAY_ACT_FOR_OTHERS": "true",
        "HISTORY_DATABASE_URI": f"sqlite:{logs / 'history.sqlite'}",
        "LOG_LEVEL": "DEBUG",
    }
    async with running(orchestrator_env=orchestrator, worker_env=worker_env, log_dir=logs) as stack:
        yield stack


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    """The stack that the tests of a process share: do not end any of it."""
    async with _shared(tmp_path_factory) as shared:
        yield shared


@pytest.fixture(scope="session")
async def stack_with_sources(
    servers: Servers, private_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EmbeddedStack]:
    """A second one, whose operator opens the servers of these tests and nothing else."""
    async with _shared(
        tmp_path_factory,
        SOURCE_ADDRESSES_ALLOWED=f"{ALLOWED}/32",
        CA_BUNDLE=str(servers.authority.certificate),
        REGISTRIES_ALLOWED=private_registry.host,
    ) as shared:
        yield shared


@pytest.fixture(scope="session")
async def engine() -> AsyncIterator[Engine]:
    """The Engine that the stacks run on."""
    async with Engine(ENGINE) as connected:
        yield connected


_tenants = itertools.cycle(TENANTS)


@asynccontextmanager
async def _tenant(stack: EmbeddedStack, engine: Engine) -> AsyncIterator[Client]:
    name = next(_tenants)
    yield Client(stack.url, f"token-of-{name}", user_id=name)
    labels = {NAMESPACE: stack.namespace, USER_ID: name}
    for bot in await containers.list_by_labels(engine, labels):
        await containers.remove(engine, bot["Id"])
    assert await containers.list_by_labels(engine, labels) == []


@pytest.fixture
async def make_client(stack: EmbeddedStack, engine: Engine) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Make clients of the shared stack, each with a tenant of its own, whose bots are removed at the end."""
    async with AsyncExitStack() as ends:
        yield lambda: ends.enter_async_context(_tenant(stack, engine))


@pytest.fixture
async def client(make_client: Callable[[], Awaitable[Client]]) -> Client:
    """A client of the shared stack."""
    return await make_client()
