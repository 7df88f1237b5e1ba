"""The HTTP API around jobs."""

import asyncio

import aiohttp
import pytest
from tests.orchestrator.conftest import START
from tests.orchestrator.waiting import until
from yarl import URL

from bot_runner_orchestrator import storage
from bot_runner_orchestrator.api import open_routes


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


LOGS = {"action": "logs", "bot_id": "echo"}


async def test_logs_are_forgotten_before_other_results(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(logs_retention_minutes=0.5 / 60, **storage_settings)
    await make_worker(orchestrator)
    other, logs = await orchestrator.run(), await orchestrator.run(LOGS)

    async def forgotten() -> bool:
        return (await orchestrator.request("GET", f"/api/jobs/{logs['id']}"))[0] == 404

    # Nothing else happens meanwhile.
    await until(forgotten)
    assert (await orchestrator.job(other["id"]))["status"] == "finished"


async def test_of_each_clients_logs_the_latest_are_kept(
    make_orchestrator, make_worker, storage_settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_MOST_LOGS", 3)
    orchestrator = await make_orchestrator(**storage_settings)
    await make_worker(orchestrator)
    of_bob = await orchestrator.run(LOGS, "bob")
    jobs = [(await orchestrator.run(LOGS))["id"] for _ in range(5)]
    statuses = [(await orchestrator.request("GET", f"/api/jobs/{job_id}"))[0] for job_id in jobs]
    assert statuses == [404, 404, 200, 200, 200]
    assert (await orchestrator.job(of_bob["id"], "bob"))["status"] == "finished"


CLOSED = [
    ("POST", "/api/admin/reload-workers"),
    ("GET", "/api/dashboard"),
    ("GET", "/api/jobs"),
    ("GET", "/api/jobs/quarantined"),
    ("GET", "/api/workers/catalog"),
    ("GET", "/api/jobs/{job}/files/upload?filename=a"),
    ("PUT", "/api/jobs/{job}/files/content/a"),
    ("GET", "/api/jobs/{job}/files/download/a"),
    ("GET", "/api/blueprints/bot_runner/graph"),
    ("GET", "/_public/docs"),
    ("POST", "/_public/webhooks/approval/{job}"),
    ("POST", "/api//admin/reload-workers"),
    ("POST", "/api/jobs/../admin/reload-workers"),
    ("POST", "/api/%61dmin/reload-workers"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_routes_of_avtomatika_that_nobody_needs_are_closed(
    orchestrator, make_worker, method: str, path: str
) -> None:
    await make_worker(orchestrator)
    job = await orchestrator.run()
    url = URL(orchestrator.url + path.format(job=job["id"]), encoded=True)
    async with orchestrator.http.request(method, url, headers={"X-Client-Token": "token-of-alice"}) as answer:
        assert answer.status == 404


async def test_each_route_is_known(orchestrator) -> None:
    """A route that a later Avtomatika brings is closed until somebody has looked at it."""
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in orchestrator.engine.app.router.routes()
        if route.resource is not None
    }
    opened = open_routes("bot_runner")
    assert {route for route in routes if opened.fullmatch(route)} == {
        "POST /_worker/workers/register",
        "GET /_worker/workers/{worker_id}/tasks/next",
        "HEAD /_worker/workers/{worker_id}/tasks/next",
        "POST /_worker/tasks/result",
        "PATCH /_worker/workers/{worker_id}",
        "POST /_worker/events",
        "POST /_worker/auth/token",
        "POST /_worker/auth/token/refresh",
        "GET /_worker/ws/{worker_id}",
        "HEAD /_worker/ws/{worker_id}",
        "GET /_public/status",
        "HEAD /_public/status",
        "POST /api/jobs/bot_runner",
        "GET /api/jobs/{job_id}",
        "POST /api/jobs/{job_id}/cancel",
        "GET /api/jobs/{job_id}/history",
        "GET /api/workers",
    }
