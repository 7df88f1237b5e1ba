"""The older API beside ours on the same paths; what its published client makes of it is in tests/stack."""

import hashlib
import json
from typing import Any

import pytest
from tests.orchestrator.conftest import START as SIMPLE
from tests.orchestrator.waiting import until

from bot_runner_orchestrator.legacy_api import initial_data, job_answer, made_up_user, shown

START = SIMPLE | {"env_vars": {}}
LOGS = {"action": "logs", "bot_id": "echo", "lines": 100}


class LegacyClient:
    """A client of the older API."""

    def __init__(self, orchestrator: Any, client: str = "alice") -> None:
        self._orchestrator = orchestrator
        self.token = f"token-of-{client}"
        self.user_id = f"cli_{hashlib.sha256(self.token.encode()).hexdigest()[:16]}"

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"X-Avtomatika-Token": self.token}
        url = self._orchestrator.url + path
        async with self._orchestrator.http.request(method, url, headers=headers, **options) as response:
            return response.status, await response.json()

    async def post(self, data: dict[str, Any]) -> tuple[int, Any]:
        body = {"user_id": self.user_id, **data}
        return await self.request("POST", "/api/jobs/bot_runner", json=body)

    async def run(self, data: dict[str, Any]) -> dict[str, Any]:
        status, answer = await self.post(data)
        assert status == 202, answer
        job: dict[str, Any] = {}

        async def ended() -> bool:
            status, seen = await self.request("GET", f"/api/jobs/{answer['job_id']}")
            assert status == 200, seen
            job.update(seen)
            return job["current_state"] in ("completed", "failed")

        await until(ended, what=lambda: f"the end of {job}")
        return job


async def test_a_task_gets_the_request_and_the_clients_own_user(orchestrator, make_worker) -> None:
    data = {"status": "started", "container_name": "bot-echo", "notes": ["one", "two"]}
    worker = await make_worker(orchestrator, lambda task: {"status": "success", "data": data})
    job = await LegacyClient(orchestrator).run(START)
    assert worker.tasks[0]["params"] == {
        **{name: value for name, value in START.items() if name != "action"},
        "user_id": "alice",
    }
    assert job["state_history"] == data
    assert job["data"]["result"] == {**data, "notes": "one, two"}


async def test_a_failed_job_has_its_error_wherever_the_client_looks(orchestrator, make_worker) -> None:
    error = {
        "code": "BUILD_FAILED",
        "message": "no [/end]",
        "hint": "look",
        "details": {"log": ["a", "b"], "size": {"mb": 1}},
        "stage": "image",
    }
    await make_worker(orchestrator, lambda task: {"status": "rejected", "data": {"error": error}})
    job = await LegacyClient(orchestrator).run(START)
    assert job["current_state"] == "failed"
    for found in (job["data"]["error"], job["data"]["error"]["error"]):
        assert found["code"] == "BUILD_FAILED"
        assert found["message"] == "no \\[/end]"
        assert found["details"] == {"log": "a, b", "size": '{"mb": 1}'}


async def test_errors_of_requests_come_the_same_way(orchestrator) -> None:
    job = await LegacyClient(orchestrator).run({"action": "dance"})
    assert job["data"]["error"]["code"] == "UNKNOWN_ACTION"


async def test_progress_is_shown_while_the_job_runs(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    client = LegacyClient(orchestrator)
    _, answer = await client.post(START)
    task = await worker.poll()
    await worker.progress(task, 0.5, "building")
    _, job = await client.request("GET", f"/api/jobs/{answer['job_id']}")
    assert (job["current_state"], job["status"]) == ("building", "waiting_for_worker")


async def test_jobs_of_both_apis_are_the_same_jobs(orchestrator, make_worker) -> None:
    await make_worker(orchestrator)
    _, answer = await LegacyClient(orchestrator).post(START)
    assert (await orchestrator.end_of(answer["job_id"]))["result"] == {"status": "started"}
    job = await orchestrator.run(START)
    _, seen = await LegacyClient(orchestrator).request("GET", f"/api/jobs/{job['id']}")
    assert seen["current_state"] == "completed"


async def test_our_own_header_wins_and_our_own_body_stays_ours(orchestrator) -> None:
    headers = {"X-Client-Token": "token-of-alice", "X-Avtomatika-Token": "token-of-alice"}
    url = orchestrator.url + "/api/jobs/bot_runner"
    async with orchestrator.http.post(url, headers=headers, json=LOGS) as response:
        job_id = (await response.json())["job_id"]
    # Without initial_data there is no action: the request is one of ours, and judged as such.
    job = await orchestrator.end_of(job_id)
    assert job["result"]["error"]["details"] == {"field": "action"}


async def test_other_users_stay_closed(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator)
    job = await LegacyClient(orchestrator).run({**LOGS, "user_id": "bob"})
    assert job["data"]["error"]["code"] == "FORBIDDEN_USER"
    job = await LegacyClient(orchestrator, "front").run({**LOGS, "user_id": "bob"})
    assert job["current_state"] == "completed"
    assert [task["params"]["user_id"] for task in worker.tasks] == ["bob"]

    _, answer = await LegacyClient(orchestrator).post(LOGS)
    status, _ = await _text_of(orchestrator, f"/api/jobs/{answer['job_id']}", "token-of-bob")
    assert status == 403


async def _text_of(orchestrator, path: str, token: str) -> tuple[int, str]:
    headers = {"X-Avtomatika-Token": token}
    async with orchestrator.http.get(orchestrator.url + path, headers=headers) as response:
        return response.status, await response.text()


async def test_only_its_two_requests_are_served(orchestrator) -> None:
    for path in ("/api/workers", "/api/jobs/x/history"):
        status, _ = await _text_of(orchestrator, path, "token-of-alice")
        assert status == 401


async def test_unknown_tokens_are_told_so(orchestrator) -> None:
    status, answer = await LegacyClient(orchestrator, "stranger").post(LOGS)
    assert (status, answer["error"]["code"]) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("body", [b"", b"{", b'{"code": "\\ud800"}', b"\xff", b"[]", b"null", b'"text"'])
async def test_what_is_no_json_object_is_told_so(orchestrator, body: bytes) -> None:
    status, answer = await LegacyClient(orchestrator).request("POST", "/api/jobs/bot_runner", data=body)
    assert (status, answer["error"]["code"]) == (400, "INVALID_FIELD")


async def test_a_request_over_the_limit_is_told_so(make_orchestrator) -> None:
    orchestrator = await make_orchestrator(max_request_mb=1)
    status, answer = await LegacyClient(orchestrator).post({**START, "archive": "A" * 2_000_000})
    assert (status, answer["error"]["code"]) == (413, "REQUEST_TOO_LARGE")


async def test_rates_hold_for_both_apis_together(orchestrator) -> None:
    assert (await orchestrator.request("GET", "/api/workers", "slow"))[0] == 200
    client = LegacyClient(orchestrator, "slow")
    assert (await client.post(LOGS))[0] == 202
    status, answer = await client.post(LOGS)
    assert (status, answer["error"]["code"]) == (429, "RATE_LIMITED")


@pytest.mark.parametrize("request_body", [{}, {"user_id": "bob"}, {"action": "list"}])
def test_other_requests_pass_as_they_are(request_body: Any) -> None:
    assert initial_data(request_body, "token") == request_body


def test_the_made_up_user_is_dropped() -> None:
    user = made_up_user("token")
    assert initial_data({"user_id": user, "action": "list"}, "token") == {"action": "list"}
    assert initial_data({"user_id": user, "action": "list"}, "other")["user_id"] == user


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("[/start] hi", "\\[/start] hi"),
        ("[info] hi [red]", "\\[info] hi \\[red]"),
        ("\\[a]", "\\\\\\[a]"),
        ("[INFO] [0] ['a'] []", "[INFO] [0] ['a'] []"),
        ("[a\nb]", "[a\nb]"),
    ],
)
def test_only_what_looks_like_markup_is_escaped(text: str, escaped: str) -> None:
    assert shown({"logs": [text]}) == {"logs": [escaped]}


def test_a_step_called_like_an_end_is_not_the_end() -> None:
    job = {"id": "1", "status": "waiting_for_worker", "progress_message": "completed"}
    assert job_answer(job)["current_state"] == "running"


@pytest.mark.parametrize("status", ["quarantined", "cancelled", "error", "failed"])
def test_every_bad_end_is_failed(status: str) -> None:
    answer = job_answer({"id": "1", "status": status, "result": None})
    assert answer["current_state"] == "failed"
    assert json.loads(json.dumps(answer))["data"]["error"]["message"]
