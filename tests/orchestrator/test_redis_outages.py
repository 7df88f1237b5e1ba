"""Redis is gone at the worst of moments: no job is forgotten, and none waits for long afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

JOBS = 40


@pytest.fixture
async def cutter(redis_port: int) -> AsyncIterator[redis.asyncio.Redis]:
    """Somebody who may close the others' connections."""
    client = redis.asyncio.Redis(port=redis_port)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def orchestrator(make_orchestrator: Any, redis_port: int, cutter: Any) -> Any:
    return await make_orchestrator(storage="redis", redis_host="127.0.0.1", redis_port=redis_port)


async def cut(cutter: redis.asyncio.Redis) -> None:
    """Close all connections but this one, as a Redis that ends does."""
    await cutter.execute_command("CLIENT", "KILL", "SKIPME", "yes")


async def test_connections_that_redis_has_closed_are_not_used_again(orchestrator: Any, cutter: Any) -> None:
    storage = orchestrator.engine.bot_storage

    async def ask_at_once() -> list[bool]:
        return await asyncio.gather(*(storage.ping() for _ in range(20)))

    assert all(await ask_at_once())  # so many connections lie ready now
    await cut(cutter)
    await asyncio.sleep(0.2)
    assert all(await ask_at_once())


async def test_no_job_is_forgotten_whose_connection_is_lost(orchestrator: Any, cutter: Any) -> None:
    accepted: list[str] = []

    async def post() -> None:
        # What was not accepted is the client's to send again.
        with suppress(AssertionError):
            accepted.append(await orchestrator.post({"action": "list"}))

    async def cut_on() -> None:
        while True:
            await asyncio.sleep(0.03)
            await cut(cutter)

    cutting = asyncio.create_task(cut_on())
    for _ in range(JOBS):
        await post()
        await asyncio.sleep(0.05)
    cutting.cancel()
    assert len(accepted) > JOBS / 4
    for job_id in accepted:
        job = await orchestrator.end_of(job_id, within=30)
        assert job["status"] in ("failed", "quarantined"), job


async def test_jobs_go_on_soon_after_redis_is_back(orchestrator: Any, cutter: Any) -> None:
    storage = orchestrator.engine.bot_storage
    real = storage._redis.xautoclaim

    async def refused(*_: Any, **__: Any) -> Any:
        raise RedisConnectionError("Connection refused")

    # As long as no Redis is there for the queue; stopping the one that all tests share would stop the others.
    storage._redis.xautoclaim = refused
    job_id = await orchestrator.post({"action": "list"})
    await asyncio.sleep(8)
    storage._redis.xautoclaim = real
    back = time.monotonic()
    await orchestrator.end_of(job_id)
    assert time.monotonic() - back < 4
