"""Requests that are refused before any worker sees them."""

from typing import Any

import pytest
from tests.orchestrator.conftest import START


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ([1], "INVALID_FIELD", "initial_data"),
        ("start", "INVALID_FIELD", "initial_data"),
        ({}, "MISSING_REQUIRED_FIELD", "action"),
        ({"action": "dance"}, "UNKNOWN_ACTION", "action"),
        ({"action": ["start"]}, "UNKNOWN_ACTION", "action"),
        ({"action": "start", "deployment_mode": "simple"}, "MISSING_REQUIRED_FIELD", "bot_id"),
        ({"action": "start", "bot_id": "echo"}, "MISSING_REQUIRED_FIELD", "deployment_mode"),
        ({"action": "stop", "bot_id": None}, "MISSING_REQUIRED_FIELD", "bot_id"),
        ({"action": "list", "user_id": 5.5}, "INVALID_USER_ID", "user_id"),
        ({"action": "list", "user_id": True}, "INVALID_USER_ID", "user_id"),
        ({"action": "list", "user_id": 5}, "FORBIDDEN_USER", "user_id"),
        ({"action": "list", "user_id": "bob"}, "FORBIDDEN_USER", "user_id"),
    ],
)
async def test_refused_without_a_worker(orchestrator, make_worker, data, code, field) -> None:
    worker = await make_worker(orchestrator)
    error = await orchestrator.error(data)
    assert (error["code"], error["details"]["field"], error["stage"]) == (code, field, "request")
    assert error["hint"]
    assert worker.tasks == []


async def test_unknown_action_names_the_known_ones(orchestrator) -> None:
    error = await orchestrator.error({"action": "dance"})
    assert "list, logs, restart, start, status, stop" in error["hint"]


async def test_client_of_a_front_end_may_act_for_others(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator)
    await orchestrator.run({"action": "list", "user_id": "carol"}, client="front")
    await orchestrator.run({"action": "list"}, client="front")
    assert [task["params"]["user_id"] for task in worker.tasks] == ["carol", "front"]


async def test_own_user_may_be_named(orchestrator, make_worker) -> None:
    await make_worker(orchestrator)
    assert (await orchestrator.run({"action": "list", "user_id": "alice"}))["status"] == "finished"


async def test_unknown_mode_names_those_on_offer(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator)
    error = await orchestrator.error(START | {"deployment_mode": "image"})
    assert error["code"] == "INVALID_DEPLOYMENT_MODE"
    assert "custom (from archive, git); simple" in error["hint"]
    assert error["details"]["modes"] == {"custom": ["archive", "git"], "simple": ["simple"]}
    assert worker.tasks == []


async def test_mode_of_another_worker_is_on_offer_too(orchestrator, make_worker) -> None:
    simple = await make_worker(orchestrator, worker_id="one", go=False)
    image = await make_worker(orchestrator, worker_id="two", go=False)
    for worker, mode in ((simple, "simple"), (image, "image")):
        worker.modes = {mode: {"sources": {mode: "…"}}}
        worker.input_schema = {"type": "object", "properties": {"deployment_mode": {"enum": [mode]}}}
        await worker.register()
        worker.go()

    assert (await orchestrator.run(START | {"deployment_mode": "image"}))["status"] == "finished"
    assert (await orchestrator.run())["status"] == "finished"
    assert [len(simple.tasks), len(image.tasks)] == [1, 1]


async def test_fields_that_no_worker_takes(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator, go=False)
    worker.input_schema = {"type": "object", "required": ["git_repo"]}
    await worker.register()
    error = await orchestrator.error(START | {"deployment_mode": "custom"})
    assert error["code"] == "MISSING_SOURCE"
    assert "git" in error["hint"]


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": 5},
        {"security": "x"},
        {"result_timeout": 30},
        {"policy": {"allowed_skills": ["x"]}},
        {"webhook_url": "http://127.0.0.1:1/"},
    ],
)
async def test_other_fields_of_the_body_are_refused(orchestrator, make_worker, body) -> None:
    worker = await make_worker(orchestrator)
    error = await orchestrator.error(START, **body)
    assert error["code"] == "INVALID_FIELD"
    assert next(iter(body)) in error["message"]
    assert worker.tasks == []


async def test_a_dispatch_timeout_that_is_no_number_leaves_no_job_behind(orchestrator) -> None:
    body = {"initial_data": START, "dispatch_timeout": "x"}
    await orchestrator.request("POST", "/api/jobs/bot_runner", json=body)
    jobs = orchestrator.engine.bot_storage._jobs.values()
    assert [(job["status"], job["result"]["error"]["code"]) for job in jobs] == [("failed", "INVALID_FIELD")]


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"n": value}
    return value


async def test_params_nested_too_deeply_are_refused(make_orchestrator, make_worker, storage_settings) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator)
    for levels in (28, 200):
        error = await orchestrator.error({"action": "list", "deep": nested(levels)})
        assert (error["code"], error["details"]["field"]) == ("INVALID_FIELD", "initial_data")
    assert worker.tasks == []


async def test_deepest_params_and_result_pass(make_orchestrator, make_worker, storage_settings) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator, lambda task: {"status": "success", "data": task["params"]})
    job = await orchestrator.run({"action": "list", "deep": nested(27)})
    assert worker.tasks[0]["params"]["deep"] == job["result"]["deep"] == nested(27)


async def test_task_has_no_deadline_that_the_sdk_cannot_read(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator)
    await orchestrator.run()
    assert worker.tasks[0].get("deadline") is None
    assert isinstance(worker.tasks[0]["timestamp"], int)
