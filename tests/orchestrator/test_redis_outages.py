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
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from tests.orchestrator.waiting import SCALE, until

from bot_runner_orchestrator.executor import ResilientExecutor
from bot_runner_orchestrator.redis_storage import is_redis_trouble

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


@pytest.mark.parametrize("method", ["get_job_state", "save_job_state"])
async def test_a_request_that_meets_a_lost_connection_is_told_to_come_again(
    orchestrator: Any, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def lost(*_: Any) -> Any:
        raise RedisConnectionError("Connection closed by server.")

    monkeypatch.setattr(orchestrator.engine.bot_storage, method, lost)
    wanted = ("POST", "/api/jobs/bot_runner") if method == "save_job_state" else ("GET", "/api/jobs/some-job")
    headers = {"X-Client-Token": "token-of-alice"}
    async with orchestrator.http.request(
        wanted[0], orchestrator.url + wanted[1], headers=headers, json={"initial_data": {"action": "list"}}
    ) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert (await response.json())["error"]["code"] == "STORAGE_UNAVAILABLE"


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), True),
        (ResponseError("Error running script: OOM command not allowed"), True),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True),
        (ReadOnlyError("You can't write against a read only replica."), True),
        (ResponseError("WRONGTYPE Operation against a key"), False),
    ],
)
def test_a_redis_that_refuses_writes_is_trouble(error: ResponseError, trouble: bool) -> None:
    assert is_redis_trouble(error) is trouble


async def test_an_error_of_the_system_is_not_taken_for_a_redis_that_is_away(
    make_orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestrator = await make_orchestrator(storage="memory")

    async def missing() -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(orchestrator.engine.bot_storage, "live_workers", missing)
    assert (await orchestrator.error({"action": "list"}))["code"] == "INTERNAL_ERROR"
    assert (await orchestrator.request("GET", "/api/workers"))[0] == 500


async def test_a_job_that_is_cancelled_at_shutdown_does_not_wait_for_redis() -> None:
    """The Redis client may turn a cancellation into an error of the connection, and waits would not end."""

    class Away:
        async def get_job_state(self, job_id: str) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise RedisConnectionError from None

        async def enqueue_job(self, job_id: str) -> None:
            raise RedisConnectionError

    executor = object.__new__(ResilientExecutor)
    executor.storage = Away()
    job = asyncio.create_task(executor._process_job("job", "message"))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(RedisConnectionError):
        async with asyncio.timeout(10 * SCALE):
            await job
