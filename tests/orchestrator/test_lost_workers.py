"""Workers that go away, and workers that the orchestrator has forgotten."""

import asyncio
import time

START = {"action": "start", "bot_id": "echo", "deployment_mode": "simple", "code": "print()"}


async def keep_alive(worker) -> None:
    while True:
        await worker.heartbeat()
        await asyncio.sleep(0.4)


async def in_a_queue(orchestrator, job_id: str) -> None:
    for _ in range(500):
        if (await orchestrator.engine.bot_storage.get_job_state(job_id)).get("task_worker_id"):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the task was not given to a worker")


async def test_task_of_a_lost_worker_goes_to_another(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3, **storage_settings)
    lost = await make_worker(orchestrator, worker_id="lost", go=False)
    job_id = await orchestrator.post(START)
    task = await lost.poll()
    other = await make_worker(orchestrator, worker_id="other")
    alive = asyncio.create_task(keep_alive(other))

    job = await orchestrator.end_of(job_id)

    assert (job["status"], job["result"]) == ("finished", {"status": "started"})
    assert [given["job_id"] for given in other.tasks] == [job_id]
    late = await lost.report(task, {"status": "rejected", "data": {"error": {"code": "X"}}})
    assert late["status"] == "ignored"
    alive.cancel()


async def test_lost_worker_without_another_is_told(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=2)
    await make_worker(orchestrator, go=False)
    error = await orchestrator.error(START)
    assert error["code"] == "NO_WORKER_AVAILABLE"


async def test_forgotten_worker_is_told_to_register(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    assert (await worker.heartbeat())[0] == 200

    await orchestrator.engine.bot_storage.deregister_worker(worker.worker_id)

    status, answer = await worker.heartbeat()
    assert status == 404
    assert "not found" in answer["error"]


async def test_heartbeat_sent_twice_is_no_attack(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    payload = {"status": "busy", "timestamp": int(time.time()), "metadata": {"same": "both times"}}
    path = f"/_worker/workers/{worker.worker_id}"
    answers = await asyncio.gather(*(worker.send("PATCH", path, payload) for _ in range(2)))
    assert [status for status, _ in answers] == [200, 200]


async def test_task_of_a_worker_that_says_farewell_is_given_out_at_once(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600, **storage_settings)
    leaving = await make_worker(orchestrator, worker_id="leaving", go=False)
    fetched = await orchestrator.post(START)
    await leaving.poll()
    queued = await orchestrator.post(START)
    await leaving.heartbeat("offline")
    await make_worker(orchestrator, worker_id="other")

    for job_id in (fetched, queued):
        assert (await orchestrator.end_of(job_id))["status"] == "finished"


async def test_task_of_a_process_that_was_killed_goes_to_the_one_that_follows_it(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600, **storage_settings)
    worker = await make_worker(orchestrator, worker_id="one", go=False)
    registration = worker.registration()

    def as_process(name: str):
        capabilities = {"hostname": "h", "ip_address": "127.0.0.1", "extra": {"instance": name}}
        return lambda: registration | {"capabilities": capabilities}

    worker.registration = as_process("first")
    await worker.register()
    job_id = await orchestrator.post(START)
    task = await worker.poll()

    worker.registration = as_process("second")
    await worker.register()
    worker.go()
    alive = asyncio.create_task(keep_alive(worker))

    assert (await orchestrator.end_of(job_id))["status"] == "finished"
    assert [given["task_id"] != task["task_id"] for given in worker.tasks] == [True]
    alive.cancel()


async def test_task_that_its_worker_never_got_is_given_out_again(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=2)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post(START)
    await worker.poll()  # and the answer is lost on its way

    async def idle() -> None:
        while True:
            path = f"/_worker/workers/{worker.worker_id}"
            await worker.send("PATCH", path, {"status": "idle", "current_tasks": []})
            await asyncio.sleep(0.4)

    alive = asyncio.create_task(idle())
    worker.go()
    assert (await orchestrator.end_of(job_id))["status"] == "finished"
    alive.cancel()


async def test_task_that_was_given_out_again_is_not_given_twice(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=3600, **storage_settings)
    away = await make_worker(orchestrator, worker_id="away", go=False)
    job_id = await orchestrator.post(START)
    await in_a_queue(orchestrator, job_id)
    await away.heartbeat("offline")
    other = await make_worker(orchestrator, worker_id="other", go=False)
    task = await other.poll()

    away.go()
    await away.heartbeat()
    await asyncio.sleep(1)  # nothing to wait for: what is shown is that nothing comes
    assert away.tasks == []
    await other.report(task, {"status": "success", "data": {"status": "started"}})
    assert (await orchestrator.end_of(job_id))["status"] == "finished"


async def test_a_worker_that_is_not_ready_gets_nothing_and_the_client_is_told_why(
    make_orchestrator, make_worker
) -> None:
    orchestrator = await make_orchestrator(worker_wait_seconds=0.5, worker_ttl_seconds=3600)
    worker = await make_worker(orchestrator, go=False)
    queued = await orchestrator.post(START)
    await in_a_queue(orchestrator, queued)
    await worker.heartbeat("not_ready")

    for error in (
        await orchestrator.error(START),
        (await orchestrator.end_of(queued))["result"]["error"],
    ):
        assert error["code"] == "NO_WORKER_AVAILABLE"
        assert "Docker Engine" in error["message"]


async def test_a_job_waits_for_a_worker_that_becomes_ready(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_wait_seconds=30)
    worker = await make_worker(orchestrator, go=False)
    await worker.heartbeat("not_ready")
    job_id = await orchestrator.post(START)
    worker.go()
    await worker.heartbeat("idle")
    assert (await orchestrator.end_of(job_id))["status"] == "finished"
