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


async def test_deep_params_and_results_pass(make_orchestrator, make_worker, storage_settings) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator, lambda task: {"status": "success", "data": task["params"]})
    job = await orchestrator.run({"action": "list", "deep": nested(16)})
    assert worker.tasks[0]["params"]["deep"] == job["result"]["deep"] == nested(16)


async def test_task_has_no_deadline_that_the_sdk_cannot_read(orchestrator, make_worker) -> None:
    worker = await make_worker(orchestrator)
    await orchestrator.run()
    assert worker.tasks[0].get("deadline") is None
    assert isinstance(worker.tasks[0]["timestamp"], int)


HUGE = [
    ({"memory_mb": 2**70}, "INVALID_LIMIT"),
    ({"memory_mb": 2**63}, "INVALID_LIMIT"),
    ({"memory_mb": -(2**64)}, "INVALID_LIMIT"),
    ({"cpu_cores": 1e308}, "INVALID_LIMIT"),
    ({"pids": [[{"a": 1e300}]]}, "INVALID_LIMIT"),
]


@pytest.mark.parametrize(("limits", "code"), HUGE)
async def test_numbers_beyond_all_limits(
    make_orchestrator, make_worker, storage_settings, limits: dict[str, object], code: str
) -> None:
    """Before, such a job was quarantined without a word about the number."""
    orchestrator = await make_orchestrator(**storage_settings)
    worker = await make_worker(orchestrator)
    job = await orchestrator.run({**START, "resource_limits": limits})
    assert (job["status"], job["result"]["error"]["code"]) == ("failed", code)
    assert job["result"]["error"]["details"] == {"field": "resource_limits"}
    assert worker.tasks == []
    # The worker goes on, and numbers that are only large are its to judge.
    assert (await orchestrator.run({**START, "resource_limits": {"memory_mb": 2**62}}))[
        "status"
    ] == "finished"


async def test_a_number_beyond_all_limits_elsewhere(orchestrator, make_worker) -> None:
    await make_worker(orchestrator)
    error = await orchestrator.error({"action": "logs", "bot_id": "echo", "lines": 2**70})
    assert (error["code"], error["details"]) == ("INVALID_FIELD", {"field": "lines"})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
async def test_what_is_no_number_in_json(orchestrator, number: str) -> None:
    body = f'{{"initial_data": {{"action": "list", "resource_limits": {{"cpu_cores": {number}}}}}}}'
    status, answer = await orchestrator.request("POST", "/api/jobs/bot_runner", data=body)
    if status == 202:  # read as a number: then it is refused as one
        answer = (await orchestrator.end_of(answer["job_id"]))["result"]
        assert answer["error"]["code"] == "INVALID_LIMIT"
    else:
        assert status == 400


TOKEN = "7654321098:AAsentinel-Bot_Token_0123456789abcd"
MISPLACED = {
    "action": {"action": TOKEN},
    "assignment": {"action": f"BOT_TOKEN={TOKEN}"},
    "mode": {**START, "deployment_mode": TOKEN},
    "field": {**START, TOKEN: 2**70},
}


@pytest.mark.parametrize("data", MISPLACED.values(), ids=MISPLACED)
async def test_a_secret_in_the_wrong_place_is_not_repeated(
    make_orchestrator, make_worker, tmp_path, data: dict[str, object]
) -> None:
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(history_database_uri=f"sqlite:{history}")
    await make_worker(orchestrator)
    error = await orchestrator.error(data)
    assert TOKEN[:20] not in str(error)
    await orchestrator.engine.stop()
    assert TOKEN.encode()[:20] not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


async def test_what_a_worker_quotes_is_kept_without_credentials(
    make_orchestrator, make_worker, tmp_path
) -> None:
    history = tmp_path / "history.sqlite"
    orchestrator = await make_orchestrator(history_database_uri=f"sqlite:{history}")
    line = "x @ https://user:p4ssw0rd-sentinel@host/x.whl"
    error = {"code": "INVALID_REQUIREMENT", "message": f"The requirement {line!r} is an address.",
             "details": {"requirements": [line]}}  # fmt: skip
    await make_worker(orchestrator, lambda _: {"status": "rejected", "data": {"error": error}})
    told = await orchestrator.error({**START, "requirements": [line]})
    assert "sentinel" not in str(told)
    assert "host/x.whl" in told["message"]
    await orchestrator.engine.stop()
    assert b"sentinel" not in b"".join(each.read_bytes() for each in tmp_path.iterdir())
