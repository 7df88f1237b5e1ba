"""Workers that go away, and workers that the orchestrator has forgotten."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from avtomatika.app_keys import EXECUTOR_KEY
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.orchestrator.waiting import stays, until


@asynccontextmanager
async def kept_alive(worker, **heartbeat) -> AsyncIterator[None]:
    """The worker sends its heartbeats, and registers where it is not known, as the SDK does."""

    async def beat() -> None:
        while True:
            if (await worker.heartbeat(**heartbeat))[0] != 200:
                await worker.register()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


async def test_task_of_a_lost_worker_goes_to_another(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=1, worker_wait_seconds=30, **storage_settings)
    lost = await make_worker(orchestrator, worker_id="lost", go=False)
    job_id = await orchestrator.post()
    task = await lost.poll()
    # What is written about a worker does not keep it alive.
    await orchestrator.engine.bot_storage.update_worker_data("lost", {"reputation": 1.0})
    other = await make_worker(orchestrator, worker_id="other")
    async with kept_alive(other):
        job = await orchestrator.end_of(job_id)

    assert (job["status"], job["result"]) == ("finished", {"status": "started"})
    assert [given["job_id"] for given in other.tasks] == [job_id]
    late = await lost.report(task, {"status": "rejected", "data": {"error": {"code": "X"}}})
    assert late["status"] == "ignored"


async def test_lost_worker_without_another_is_told(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=1)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    await orchestrator.given_out(job_id)
    await orchestrator.engine.bot_storage.deregister_worker(worker.worker_id)
    error = (await orchestrator.end_of(job_id))["result"]["error"]
    assert error["code"] == "NO_WORKER_AVAILABLE"


async def test_forgotten_worker_is_told_to_register(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    assert (await worker.heartbeat())[0] == 200

    await orchestrator.engine.bot_storage.deregister_worker(worker.worker_id)

    status, answer = await worker.heartbeat()
    assert status == 404
    assert "not found" in answer["error"]


async def test_forgotten_worker_is_told_so_twice_if_it_sends_its_heartbeat_twice(
    orchestrator, make_worker
) -> None:
    """The SDK swallows the first answer: it would take the second for all is well, and never register."""
    worker = await make_worker(orchestrator, go=False)
    await orchestrator.engine.bot_storage.deregister_worker(worker.worker_id)
    payload = {"status": "idle", "timestamp": int(time.time()), "metadata": {"same": "both times"}}
    path = f"/_worker/workers/{worker.worker_id}"
    answers = await asyncio.gather(*(worker.send("PATCH", path, payload) for _ in range(2)))
    assert [status for status, _ in answers] == [404, 404]


async def test_heartbeat_sent_twice_is_no_attack(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    payload = {"status": "busy", "timestamp": int(time.time()), "metadata": {"same": "both times"}}
    path = f"/_worker/workers/{worker.worker_id}"
    answers = await asyncio.gather(*(worker.send("PATCH", path, payload) for _ in range(2)))
    assert [status for status, _ in answers] == [200, 200]


async def test_task_of_a_worker_that_says_farewell_is_given_out_at_once(
    make_orchestrator, make_worker
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600)
    leaving = await make_worker(orchestrator, worker_id="leaving", go=False)
    fetched = await orchestrator.post()
    await leaving.poll()
    queued = await orchestrator.post()
    await leaving.heartbeat("offline")
    await make_worker(orchestrator, worker_id="other")

    for job_id in (fetched, queued):
        assert (await orchestrator.end_of(job_id))["status"] == "finished"


async def test_task_of_a_process_that_was_killed_goes_to_the_one_that_follows_it(
    make_orchestrator, make_worker
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600)
    worker = await make_worker(orchestrator, worker_id="one", go=False)
    registration = worker.registration()

    def as_process(name: str):
        capabilities = {"hostname": "h", "ip_address": "127.0.0.1", "extra": {"instance": name}}
        return lambda: registration | {"capabilities": capabilities}

    worker.registration = as_process("first")
    await worker.register()
    job_id = await orchestrator.post()
    task = await worker.poll()

    worker.registration = as_process("second")
    await worker.register()
    worker.go()

    assert (await orchestrator.end_of(job_id))["status"] == "finished"
    assert [given["task_id"] != task["task_id"] for given in worker.tasks] == [True]


async def test_task_that_a_forgotten_worker_takes_before_it_registers_again_is_its_own(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600, **storage_settings)
    worker = await make_worker(orchestrator, go=False)
    registration = worker.registration()
    capabilities = {"hostname": "h", "ip_address": "127.0.0.1", "extra": {"instance": "its only one"}}
    worker.registration = lambda: registration | {"capabilities": capabilities}
    await worker.register()
    job_id = await orchestrator.post()
    await orchestrator.given_out(job_id)
    await orchestrator.engine.bot_storage.refresh_worker_ttl(worker.worker_id, 0)
    task = await worker.poll()
    await worker.register()
    async with kept_alive(worker, current_tasks=[task["task_id"]]):
        await stays(lambda: orchestrator.has_status(job_id, "waiting_for_worker"), 0.6)
        answer = await worker.report(task, {"status": "success", "data": {"status": "started"}})
    assert answer["status"] != "ignored"
    assert (await orchestrator.end_of(job_id))["result"] == {"status": "started"}


async def test_task_that_its_worker_never_got_is_given_out_again(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=1)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    await worker.poll()  # and the answer is lost on its way
    worker.go()
    async with kept_alive(worker, current_tasks=[]):
        assert (await orchestrator.end_of(job_id))["status"] == "finished"
        assert await load_of(worker, orchestrator) == 0


async def load_of(worker, orchestrator) -> int:
    """The number of tasks by which the dispatcher compares workers."""
    info = await orchestrator.engine.bot_storage.get_worker_info(worker.worker_id)
    return int(info["_internal_load"])


async def test_task_taken_off_the_queue_for_nobody_is_given_out_again(
    make_orchestrator, make_worker, storage_settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=1, **storage_settings)
    storage = orchestrator.engine.bot_storage
    worker = await make_worker(orchestrator, go=False)
    taken, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(*_: object) -> bool:
        taken.set()
        try:
            return await asyncio.Event().wait()
        finally:
            cancelled.set()

    job_id = await orchestrator.post()
    with monkeypatch.context() as slow:
        slow.setattr(storage, "_note_pick_up", hang)
        poll = asyncio.create_task(worker.poll())
        await taken.wait()
        poll.cancel()
        with suppress(asyncio.CancelledError):
            await poll
        await cancelled.wait()
    worker.go()
    async with kept_alive(worker, current_tasks=[]):
        assert (await orchestrator.end_of(job_id))["status"] == "finished"
        assert await load_of(worker, orchestrator) == 0


async def test_released_job_is_queued_although_redis_fails_in_between(
    make_orchestrator, make_worker, storage_settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600, **storage_settings)
    storage = orchestrator.engine.bot_storage
    leaving = await make_worker(orchestrator, worker_id="leaving", go=False)
    job_id = await orchestrator.post()
    await leaving.poll()
    enqueue_job, failed = storage.enqueue_job, asyncio.Event()

    async def fail_once(queued: str) -> None:
        if not failed.is_set():
            failed.set()
            raise RedisConnectionError
        await enqueue_job(queued)

    monkeypatch.setattr(storage, "enqueue_job", fail_once)
    other = await make_worker(orchestrator, worker_id="other", go=False)
    await leaving.heartbeat("offline")
    await failed.wait()
    other.go()
    assert (await orchestrator.end_of(job_id))["status"] == "finished"
    assert len(other.tasks) == 1


async def test_job_is_not_released_while_it_is_dispatched_again(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    task = await worker.poll()
    async with orchestrator.engine.app[EXECUTOR_KEY].dispatcher._choosing:
        await worker.report(task, {"status": "failure", "error": {"code": "TRANSIENT_ERROR", "message": "m"}})
        await until(lambda: orchestrator.has_status(job_id, "waiting_for_worker"))
        registration = worker.registration()
        capabilities = {"hostname": "h", "ip_address": "127.0.0.1", "extra": {"instance": "second"}}
        worker.registration = lambda: registration | {"capabilities": capabilities}
        await worker.register()
        await stays(lambda: orchestrator.has_status(job_id, "waiting_for_worker"), 0.4)
    worker.go()
    assert (await orchestrator.end_of(job_id))["status"] == "finished"
    assert len(worker.tasks) == 1


async def test_task_that_was_given_out_again_is_not_given_twice(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600)
    away = await make_worker(orchestrator, worker_id="away", go=False)
    job_id = await orchestrator.post()
    await orchestrator.given_out(job_id)
    await away.heartbeat("offline")
    other = await make_worker(orchestrator, worker_id="other", go=False)
    task = await other.poll()

    away.go()
    await away.heartbeat()
    await stays(lambda: away.tasks == [], 0.3)
    await other.report(task, {"status": "success", "data": {"status": "started"}})
    assert (await orchestrator.end_of(job_id))["status"] == "finished"


async def test_a_worker_that_is_not_ready_gets_nothing_and_the_client_is_told_why(
    make_orchestrator, make_worker
) -> None:
    orchestrator = await make_orchestrator(worker_wait_seconds=0.5, worker_ttl_seconds=3600)
    worker = await make_worker(orchestrator, go=False)
    queued = await orchestrator.post()
    await orchestrator.given_out(queued)
    await worker.heartbeat("not_ready")

    for error in (
        await orchestrator.error(),
        (await orchestrator.end_of(queued))["result"]["error"],
    ):
        assert error["code"] == "NO_WORKER_AVAILABLE"
        assert "Docker Engine" in error["message"]


async def test_a_job_waits_for_a_worker_that_becomes_ready(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_wait_seconds=30)
    worker = await make_worker(orchestrator, go=False)
    await worker.heartbeat("not_ready")
    job_id = await orchestrator.post()
    worker.go()
    await stays(lambda: orchestrator.has_status(job_id, "pending"), 0.2)
    await worker.heartbeat("idle")
    assert (await orchestrator.end_of(job_id))["status"] == "finished"
