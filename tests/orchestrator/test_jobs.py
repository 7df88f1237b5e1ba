"""How a job ends, seen by a client."""

import asyncio
from typing import Any

import pytest
import redis
from tests.orchestrator.waiting import stays, until


def error_data(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "m", "hint": "h", "details": {"a": 1}, "stage": "start"}}


async def test_success_shows_the_tasks_data_and_nothing_else(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator)

    job = await orchestrator.run()

    assert job["status"] == "finished"
    assert job["result"] == {"status": "started"}
    [task] = worker.tasks
    assert task["type"] == "start_bot"
    assert task["params"] == {
        "bot_id": "echo", "deployment_mode": "simple", "code": "print()", "user_id": "alice"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "task"),
    [
        ("stop", "stop_bot"),
        ("restart", "restart_bot"),
        ("logs", "get_logs"),
        ("status", "check_status"),
        ("list", "list_bots"),
    ],
)
async def test_each_action_has_its_task(orchestrator, make_worker, action, task) -> None:
    worker = await make_worker(orchestrator)
    await orchestrator.run({"action": action, "bot_id": "echo"})
    assert [given["type"] for given in worker.tasks] == [task]


async def test_rejected_is_told_once_and_costs_no_reputation(orchestrator, make_worker) -> None:
    worker = await make_worker(
        orchestrator, lambda task: {"status": "rejected", "data": error_data("QUOTA_EXCEEDED")}
    )

    job = await orchestrator.run()

    assert (job["status"], job["result"]) == ("failed", error_data("QUOTA_EXCEEDED"))
    assert len(worker.tasks) == 1
    assert await orchestrator.reputation("worker-1") == 1


async def test_outage_is_tried_again_and_then_told(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(retry_attempts=3)
    worker = await make_worker(
        orchestrator,
        lambda task: {
            "status": "failure",
            "error": {"code": "TRANSIENT_ERROR", "message": "m"},
            "data": error_data("ENGINE_UNAVAILABLE"),
        },
    )

    error = await orchestrator.error()

    assert error["code"] == "ENGINE_UNAVAILABLE"
    assert error["details"] == {"a": 1, "attempts": 3}
    assert len(worker.tasks) == 3
    assert await orchestrator.reputation("worker-1") == 1


async def test_outage_that_passes_leaves_no_trace_in_the_result(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator)

    def answer(_task: dict[str, Any]) -> dict[str, Any]:
        if len(worker.tasks) < 3:
            error = {"code": "TRANSIENT_ERROR", "message": "m"}
            return {"status": "failure", "error": error, "data": error_data("ENGINE_UNAVAILABLE")}
        return {"status": "success", "data": {"status": "started"}}

    worker.answer = answer
    job = await orchestrator.run()
    assert (job["status"], job["result"]) == ("finished", {"status": "started"})


@pytest.mark.parametrize(
    ("sdk_code", "code", "times"),
    [
        ("INVALID_INPUT_ERROR", "INVALID_FIELD", 1),
        ("PERMANENT_ERROR", "TASK_REFUSED", 1),
        ("SECURITY_ERROR", "TASK_REFUSED", 1),
        ("CONTRACT_VIOLATION_ERROR", "TASK_REFUSED", 1),
        ("TRANSIENT_ERROR", "WORKER_FAILED", 3),
    ],
)
async def test_failures_of_the_sdk_reach_the_client(orchestrator, make_worker, sdk_code, code, times) -> None:
    worker = await make_worker(
        orchestrator, lambda task: {"status": "failure", "error": {"code": sdk_code, "message": "why"}}
    )

    error = await orchestrator.error()

    assert (error["code"], error["details"]["worker_code"]) == (code, sdk_code)
    assert len(worker.tasks) == times
    assert await orchestrator.reputation("worker-1") == 1


async def test_status_that_nobody_knows_still_ends_in_an_error(orchestrator, make_worker) -> None:
    await make_worker(orchestrator, lambda task: {"status": "perhaps"})
    assert (await orchestrator.error())["code"] == "INTERNAL_ERROR"


async def test_no_worker(orchestrator) -> None:
    error = await orchestrator.error()
    assert error["code"] == "NO_WORKER_AVAILABLE"
    assert "bot-runner-worker" in error["hint"]


async def test_worker_that_comes_in_time_gets_the_task(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_wait_seconds=10)
    job_id = await orchestrator.post()
    await stays(lambda: orchestrator.has_status(job_id, "pending"), 0.2)
    await make_worker(orchestrator)
    assert (await orchestrator.end_of(job_id))["status"] == "finished"


async def test_sixty_jobs_at_once(make_orchestrator, make_worker, storage_settings) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator)

    jobs = await asyncio.gather(
        *(orchestrator.run({"action": "status", "bot_id": f"bot{number}"}) for number in range(60))
    )

    assert [job["status"] for job in jobs] == ["finished"] * 60
    assert len(worker.tasks) == 60


async def test_jobs_that_wait_hold_up_no_others(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(retry_delay_seconds=30)
    error = {"code": "TRANSIENT_ERROR", "message": "m"}
    await make_worker(
        orchestrator,
        lambda task: (
            {"status": "failure", "error": error}
            if task["params"]["bot_id"] == "down"
            else {"status": "success", "data": {}}
        ),
    )
    waiting = await orchestrator.post({"action": "status", "bot_id": "down"})
    await until(lambda: orchestrator.has_status(waiting, "running"))
    assert (await orchestrator.run({"action": "status", "bot_id": "up"}))["status"] == "finished"
    assert await orchestrator.has_status(waiting, "running")


async def test_full_worker_gets_the_task_later(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    assert (await worker.heartbeat("full"))[0] == 200
    job_id = await orchestrator.post()
    await orchestrator.given_out(job_id)
    await stays(lambda: orchestrator.has_status(job_id, "waiting_for_worker"), 0.4)
    worker.go()
    assert (await orchestrator.end_of(job_id))["status"] == "finished"


async def test_cancelled_job_is_never_given_to_a_worker(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    await orchestrator.given_out(job_id)

    assert (await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel"))[0] == 200
    worker.go()
    await orchestrator.run({"action": "list"})

    assert [task["type"] for task in worker.tasks] == ["list_bots"]
    job = await orchestrator.job(job_id)
    assert (job["status"], job["result"]["error"]["code"]) == ("cancelled", "JOB_CANCELLED")


async def test_job_cancelled_before_it_was_looked_at_stays_cancelled(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(worker_wait_seconds=5)
    job_id = await orchestrator.post()
    await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel")
    worker = await make_worker(orchestrator)
    await stays(lambda: worker.tasks == [], 0.2)
    assert await orchestrator.has_status(job_id, "cancelled")


async def test_worker_hears_which_of_its_tasks_nobody_waits_for(
    make_orchestrator, make_worker, storage_settings
) -> None:
    """Until they are gone, and whichever of several processes of the orchestrator it asks."""
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator, go=False)
    tasks = {}
    for _ in range(3):
        job_id = await orchestrator.post()
        tasks[job_id] = await worker.poll()
    current = [task["task_id"] for task in tasks.values()]
    assert "cancel_task_ids" not in (await worker.heartbeat(current_tasks=current))[1]

    for job_id in list(tasks)[:2]:
        assert (await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel"))[0] == 200

    for status in ("idle", "active"):
        _, answer = await worker.heartbeat(status, current_tasks=[*current, "unknown"])
        assert answer["cancel_task_ids"] == current[:2]
    assert "cancel_task_ids" not in (await worker.heartbeat(current_tasks=current[2:]))[1]
    for nonsense in (None, "text", [1, None]):
        assert (await worker.heartbeat(current_tasks=nonsense))[0] < 500


async def test_worker_hears_that_a_tasks_time_is_up(make_orchestrator, make_worker) -> None:
    orchestrator = await make_orchestrator(start_timeout_seconds=1)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    task = await worker.poll()
    assert (await orchestrator.end_of(job_id))["result"]["error"]["code"] == "TASK_TIMED_OUT"
    _, answer = await worker.heartbeat(current_tasks=[task["task_id"]])
    assert answer["cancel_task_ids"] == [task["task_id"]]


async def test_late_result_changes_nothing(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    task = await worker.poll()
    await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel")

    await worker.report(task, {"status": "success", "data": {"status": "started"}})
    await stays(lambda: orchestrator.has_status(job_id, "cancelled"), 0.2)
    assert (await orchestrator.job(job_id))["result"]["error"]["code"] == "JOB_CANCELLED"


async def test_what_comes_too_late_does_not_prolong_the_retention(
    make_orchestrator, make_worker, redis_settings, redis_port
) -> None:
    orchestrator = await make_orchestrator(**redis_settings)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    task = await worker.poll()
    await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel")
    key = orchestrator.engine.bot_storage._get_key(job_id)
    with redis.Redis(port=redis_port) as client:
        assert client.ttl(key) > 100
        client.expire(key, 100)
        await worker.progress(task, 0.5, "building")
        assert 0 < client.ttl(key) <= 100
        await worker.report(task, {"status": "success", "data": {}})
        await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel")
        assert 0 < client.ttl(key) <= 100
    assert "progress" not in await orchestrator.job(job_id)


async def test_task_that_takes_too_long(make_orchestrator, make_worker, storage_settings) -> None:
    orchestrator = await make_orchestrator(start_timeout_seconds=1, **storage_settings)
    worker = await make_worker(orchestrator, go=False)
    jobs = [await orchestrator.post(), await orchestrator.post()]
    assert await worker.poll()  # one of the two is never fetched
    for job_id in jobs:
        job = await orchestrator.end_of(job_id)
        assert (job["status"], job["result"]["error"]["code"]) == ("failed", "TASK_TIMED_OUT")


async def test_deadline_that_has_not_come_ends_nothing(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(start_timeout_seconds=60, **storage_settings)
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    task = await worker.poll()
    await stays(lambda: orchestrator.has_status(job_id, "waiting_for_worker"), 0.3)
    await worker.report(task, {"status": "success", "data": {}})
    assert (await orchestrator.end_of(job_id))["status"] == "finished"


async def test_progress_is_shown(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    assert "progress" not in await orchestrator.job(job_id)
    task = await worker.poll()
    await worker.progress(task, 0.5, "building the image")
    job = await orchestrator.job(job_id)
    assert (job["progress"], job["progress_message"]) == (0.5, "building the image")
