"""Workers that go away, and workers that the orchestrator has forgotten."""

import asyncio
import time

START = {"action": "start", "bot_id": "echo", "deployment_mode": "simple", "code": "print()"}


async def keep_alive(worker) -> None:
    while True:
        await worker.heartbeat()
        await asyncio.sleep(0.4)


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
