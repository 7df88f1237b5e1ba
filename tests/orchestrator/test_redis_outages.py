"""Redis is gone at the worst of moments: no job is forgotten, and none waits for long afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.orchestrator.waiting import until

JOBS = 20


@pytest.fixture
async def cutter(redis_port: int) -> AsyncIterator[redis.asyncio.Redis]:
    """Somebody who may close the others' connections."""
    client = redis.asyncio.Redis(port=redis_port)
    yield client
    await client.aclose()


@pytest.fixture
async def orchestrator(make_orchestrator: Any, redis_settings: dict[str, Any], cutter: Any) -> Any:
    return await make_orchestrator(**redis_settings)


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


@pytest.mark.parametrize("executed", [True, False])
async def test_no_command_whose_connection_is_lost_ends_a_job_badly(
    orchestrator: Any, make_worker: Any, monkeypatch: pytest.MonkeyPatch, executed: bool
) -> None:
    """The first command that a job's steps send to Redis is lost, for the next job the second, and so on."""
    await make_worker(orchestrator)
    until_lost = 0

    def loses() -> bool:
        nonlocal until_lost
        # What the executor sends, not what the requests of clients and workers do.
        if getattr(asyncio.current_task().get_coro(), "__name__", "") != "_process_job":
            return False
        until_lost -= 1
        return until_lost == 0

    name = "read_response" if executed else "send_packed_command"
    real = getattr(AbstractConnection, name)

    async def lossy(connection: AbstractConnection, *arguments: Any, **options: Any) -> Any:
        result = await real(connection, *arguments, **options) if executed else None
        if loses():
            await connection.disconnect()
            raise RedisConnectionError("Connection closed by server.")
        return result if executed else await real(connection, *arguments, **options)

    monkeypatch.setattr(AbstractConnection, name, lossy)
    for number in count(1):
        until_lost = number
        job = await orchestrator.run()
        assert (job["status"], job["result"]) == ("finished", {"status": "started"}), f"command {number}"
        if until_lost > 0:
            break
    assert number > 20, number  # the steps send more commands than that


@pytest.mark.slow
async def test_no_job_is_forgotten_while_all_connections_are_cut(orchestrator: Any, cutter: Any) -> None:
    # A job that nobody got, since the answer was lost, is claimed after this time; 60 s otherwise.
    orchestrator.engine.bot_storage._min_idle_time_ms = 3000
    accepted: list[str] = []

    async def cut_on() -> None:
        while True:
            await asyncio.sleep(0.03)
            await cut(cutter)

    cutting = asyncio.create_task(cut_on())
    while len(accepted) < JOBS:
        # What was not accepted is the client's to send again.
        with suppress(AssertionError):
            accepted.append(await orchestrator.post({"action": "list"}))
        await asyncio.sleep(0.05)
    cutting.cancel()

    async def has_failed(job_id: str) -> bool:
        # Nor is a question answered whose connection is lost.
        with suppress(AssertionError):
            return await orchestrator.has_status(job_id, "failed")
        return False

    for job_id in accepted:
        await until(lambda job_id=job_id: has_failed(job_id), 60, job_id)


async def test_jobs_go_on_soon_after_redis_is_back(
    orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Any] = []

    async def refused(*arguments: Any, **_: Any) -> Any:
        tries.append(arguments)
        raise RedisConnectionError("Connection refused")

    # As long as no Redis is there for the queue; stopping the one that all tests share would stop the others.
    with monkeypatch.context() as away:
        away.setattr(orchestrator.engine.bot_storage._redis, "xautoclaim", refused)
        job_id = await orchestrator.post({"action": "list"})
        # Avtomatika would wait for twice as long after each try: for 17 minutes in all.
        await until(lambda: len(tries) > 10)
    await orchestrator.end_of(job_id)
