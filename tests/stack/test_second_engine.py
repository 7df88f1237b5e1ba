"""A worker of a second Engine is refused and says why; one whose Engine was away is welcome once it is up."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.conftest import ENGINE
from tests.engine_gateway import EngineGateway, engine_gateway
from tests.stack.conftest import client_of, running

from bot_runner_stack import ports
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.slow

OTHER = "ZZZZ:ANOTHER:ENGINE"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[EngineGateway]:
    async with engine_gateway(tmp_path) as gateway:
        yield gateway


async def own_id() -> str:
    async with Engine(ENGINE) as engine:
        return await engine.id()


async def reasons(address: str) -> list[str]:
    """Why the worker is not ready, by its own account."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/ready") as response:
            found: list[str] = json.loads(await response.text())["reasons"]
            return found
    except aiohttp.ClientError:
        return []


async def engines(stack: Any) -> dict[str, str | None]:
    return {worker["worker_id"]: worker.get("engine") for worker in await client_of(stack).workers()}


async def test_a_worker_of_a_second_engine_is_refused_and_says_why(gateway: EngineGateway) -> None:
    ours = await own_id()
    gateway.disguise = (ours.encode(), OTHER.ljust(len(ours), "Z").encode())
    address = f"127.0.0.1:{ports.free_port('127.0.0.1')}"
    async with running() as stack:
        first = f"{stack.namespace}-worker-1"
        assert await engines(stack) == {first: ours}

        second = {"DOCKER_HOST": gateway.address, "RUNNER_NAMESPACE": f"{stack.namespace}-b"}
        starting = asyncio.create_task(stack.start_worker(second | {"HEALTH_ADDRESS": address}))
        try:

            async def is_refused() -> bool:
                return any("it refuses this worker" in reason for reason in await reasons(address))

            await until(is_refused)
            (reason,) = await reasons(address)
            for word in (ours, OTHER, first, "End that worker"):
                assert word in reason
                assert word in stack.workers[1].log.read_text()
            assert "Traceback" not in stack.workers[1].log.read_text()
            assert await engines(stack) == {first: ours}

            # The operator moves on to the other Engine: it is let in without being started again.
            await stack.workers[0].stop(grace_seconds=20)
            await starting
            assert OTHER in str((await engines(stack))[f"{stack.namespace}-worker-2"])
        finally:
            starting.cancel()


async def test_a_worker_whose_engine_was_away_tells_it_once_it_is_there(gateway: EngineGateway) -> None:
    await gateway.cut()
    async with running(worker_env={"DOCKER_HOST": gateway.address}) as stack:
        (worker_id,) = await engines(stack)
        assert await engines(stack) == {worker_id: None}
        await gateway.mend()

        async def is_told() -> bool:
            return (await engines(stack)).get(worker_id) == await own_id()

        await until(is_told)

        async def takes_tasks() -> bool:
            return [worker["status"] for worker in await client_of(stack).workers()] == ["idle"]

        await until(takes_tasks)
        assert (await client_of(stack).result("list"))["count"] == 0
