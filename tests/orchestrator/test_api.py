"""The HTTP API around jobs."""

import asyncio

import aiohttp
import pytest
from tests.orchestrator.conftest import START
from tests.orchestrator.waiting import until


async def test_readiness_needs_no_token(orchestrator) -> None:
    async with orchestrator.http.get(orchestrator.url + "/_public/status") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("client", ["stranger", ""])
async def test_unknown_token(orchestrator, client) -> None:
    assert (await orchestrator.request("POST", "/api/jobs/bot_runner", client, json={}))[0] == 401


async def test_default_tokens_of_avtomatika_are_no_tokens(orchestrator) -> None:
    headers = {"X-Client-Token": "secure-orchestrator-token"}
    async with orchestrator.http.get(orchestrator.url + "/api/workers", headers=headers) as response:
        assert response.status == 401
    headers = {"X-Worker-Token": "secure-worker-token"}
    url = orchestrator.url + "/_worker/workers/w/tasks/next"
    async with orchestrator.http.get(url, headers=headers) as response:
        assert response.status == 403


async def test_jobs_of_other_clients_are_closed(orchestrator, make_worker) -> None:
    await make_worker(orchestrator)
    job_id = await orchestrator.post()
    assert (await orchestrator.request("GET", f"/api/jobs/{job_id}", "bob"))[0] == 403
    assert (await orchestrator.request("POST", f"/api/jobs/{job_id}/cancel", "bob"))[0] == 403


async def test_large_archives_pass(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator)
    archive = "A" * 5_000_000
    await orchestrator.run({**START, "archive": archive})
    assert worker.tasks[0]["params"]["archive"] == archive


async def test_request_over_the_limit_is_refused(make_orchestrator) -> None:
    orchestrator = await make_orchestrator(max_request_mb=1)
    status, _ = await orchestrator.request(
        "POST", "/api/jobs/bot_runner", json={"initial_data": {"archive": "A" * 2_000_000}}
    )
    assert status in (400, 413)


async def test_workers_are_shown_without_their_signatures(orchestrator, make_worker) -> None:
    await make_worker(orchestrator)
    _, [worker] = await orchestrator.request("GET", "/api/workers")
    assert set(worker) == {"worker_id", "worker_type", "status", "reputation", "supported_skills"}
    assert worker["supported_skills"][0]["properties"]["modes"]["simple"]


async def test_nobody_approves_a_job(orchestrator, make_worker) -> None:
    await make_worker(orchestrator, go=False)
    job_id = await orchestrator.post()
    await orchestrator.given_out(job_id)
    path = f"/_public/webhooks/approval/{job_id}"
    assert (await orchestrator.request("POST", path, json={"decision": "success"}))[0] == 404
    assert await orchestrator.has_status(job_id, "waiting_for_worker")


async def test_finished_jobs_are_forgotten_after_their_time(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(job_retention_hours=0.5 / 3600, **storage_settings)
    await make_worker(orchestrator)
    job = await orchestrator.run()

    async def forgotten() -> bool:
        await orchestrator.run()
        return (await orchestrator.request("GET", f"/api/jobs/{job['id']}"))[0] == 404

    await until(forgotten)


async def test_poll_that_was_given_up_swallows_no_task(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator, go=False)
    async with aiohttp.ClientSession() as gone:
        url = f"{orchestrator.url}/_worker/workers/worker-1/tasks/next"
        with pytest.raises(asyncio.TimeoutError):
            await gone.get(url, headers=worker.headers, timeout=aiohttp.ClientTimeout(total=0.3))
    await until(lambda: not orchestrator.engine.bot_storage._polls)
    job_id = await orchestrator.post()
    await orchestrator.given_out(job_id)
    worker.go()
    assert (await orchestrator.end_of(job_id))["status"] == "finished"
