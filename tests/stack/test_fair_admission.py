"""A tenant whose starts never come to an end, through orchestrator, SDK and Engine."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import aiohttp
import pytest
from tests.conftest import BASE_IMAGE, IDLE_BOT
from tests.plugins.custom_archive.test_projects import archive_of
from tests.stack.conftest import Client, client_of, running

from bot_runner_stack import ports
from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.testing.source_server import ALLOWED, SourceServer
from bot_runner_worker.testing.waiting import SCALE, until

SIMPLE = {"deployment_mode": "simple", "code": IDLE_BOT}
ACTION_SECONDS = 2.0
CANCELLED_SECONDS = 10.0


@dataclass
class Attacked:
    """A stack, and what its worker says of itself."""

    stack: EmbeddedStack
    client: Client
    health: str

    async def tasks(self) -> int:
        """Tasks that the worker has, running or waiting."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.health}/health") as answer:
            tasks = (await answer.json())["tasks"]
        return int(tasks["running"] + tasks["waiting"])

    async def answers_of(self, user_id: str) -> dict[str, float]:
        """A user's six actions; returns how long each took."""
        bot = {"user_id": user_id, "bot_id": "bot"}
        took: dict[str, float] = {}
        for action in ("start", "list", "status", "logs", "restart", "stop"):
            params = {"user_id": user_id} if action == "list" else bot
            begun = monotonic()
            job = await self.client.run(action, **params, **(SIMPLE if action == "start" else {}))
            took[action] = monotonic() - begun
            assert job["status"] == "finished", job
        return took


@asynccontextmanager
async def attacked() -> AsyncIterator[Attacked]:
    port = ports.free_port("127.0.0.1")
    async with running(
        orchestrator_env={"CLIENT_MAY_ACT_FOR_OTHERS": "true"},
        worker_env={"HEALTH_ADDRESS": f"127.0.0.1:{port}", "SOURCE_ADDRESSES_ALLOWED": f"{ALLOWED}/32"},
    ) as stack:
        yield Attacked(stack, client_of(stack), f"http://127.0.0.1:{port}")


@pytest.fixture
def server() -> Iterator[SourceServer]:
    """A server whose archives come at ten bytes a second."""
    server = SourceServer()
    yield server
    server.close()


def never_built() -> dict[str, Any]:
    """A start whose build takes longer than anybody waits."""
    dockerfile = f"FROM {BASE_IMAGE}\nRUN sleep 500\n"
    archive = archive_of({"Dockerfile": dockerfile, "bot.py": IDLE_BOT})
    return {"deployment_mode": "custom", "archive": b64encode(archive).decode()}


async def build_steps(engine: Engine, stack: EmbeddedStack) -> list[Any]:
    return await containers.list_by_labels(engine, {NAMESPACE: stack.namespace, ROLE: BUILD_ROLE})


@pytest.mark.parametrize(
    ("slow", "times"),
    [
        pytest.param("build", 6, marks=pytest.mark.engine),
        pytest.param("build", 100, marks=pytest.mark.slow),
        pytest.param("download", 100, marks=pytest.mark.slow),
    ],
)
async def test_starts_without_end_keep_nobody_waiting_and_end_when_they_are_cancelled(
    slow: str, times: int, engine: Engine, server: SourceServer
) -> None:
    async with attacked() as under:
        stack, client = under.stack, under.client
        drip = {"deployment_mode": "custom", "archive_url": server.url("/drip")}
        params = never_built() if slow == "build" else drip
        usual = await under.answers_of("before")

        jobs: list[str] = []

        async def under_way() -> bool:
            begun = await build_steps(engine, stack) if slow == "build" else server.requests
            return bool(begun) and await under.tasks() == len(jobs)

        # Half of them join the first, the others wait for it with other content.
        for content in ("0", "1"):
            start = {"user_id": "greedy", "bot_id": "bot", **params, "env_vars": {"N": content}}
            jobs += await asyncio.gather(*(client.post("start", **start) for _ in range(times // 2)))
            await until(under_way, 60, stack.log_tail)

        took = await under.answers_of("modest")
        for action, seconds in took.items():
            usually = usual[action] if action in ("start", "restart") else 0
            assert seconds < usually + ACTION_SECONDS * SCALE, took
        listed = await client.result("list", user_id="greedy")
        assert [bot["status"] for bot in listed["bots"]] == ["starting"]

        await asyncio.gather(*(client.cancel(job) for job in jobs))

        async def all_over() -> bool:
            return await under.tasks() == 0 and not await build_steps(engine, stack)

        await until(all_over, CANCELLED_SECONDS, stack.log_tail)
        assert (await client.result("status", user_id="greedy", bot_id="bot"))["exists"] is False
        assert (await client.result("start", user_id="greedy", bot_id="bot", **SIMPLE))["status"] == "started"
