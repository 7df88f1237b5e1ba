"""What of a request becomes part of the job that is stored."""

from copy import deepcopy
from typing import Any

import pytest

from bot_runner_orchestrator.jobs import admit


def job(**fields: Any) -> dict[str, Any]:
    return {"blueprint_name": "bot_runner", "status": "pending", "state_history": {}, **fields}


def test_headers_of_the_request_are_not_kept_but_those_of_tracing() -> None:
    headers = {"X-Client-Token": "SENTINEL", "Cookie": "SENTINEL", "Traceparent": "00-1-2-01"}
    state = job(tracing_context=headers)
    admit(state, "bot_runner")
    assert state["tracing_context"] == {"Traceparent": "00-1-2-01"}


def test_job_with_fields_that_are_not_supported_ends_at_once_and_names_them() -> None:
    state = job(webhook_url="http://127.0.0.1/", policy={"a": 1}, metadata=None)
    admit(state, "bot_runner")
    assert (state["webhook_url"], state["policy"], state["metadata"]) == (None, None, {})
    assert (state["status"], state["result"]["error"]["code"]) == ("failed", "INVALID_FIELD")
    assert "policy, webhook_url" in state["result"]["error"]["message"]


@pytest.mark.parametrize("status", ["failed", "running"])
def test_nor_with_a_job_that_was_refused_before_or_goes_on(status: str) -> None:
    state = job(status=status, policy={"a": 1}, tracing_context={"X-Client-Token": "SENTINEL"})
    admit(state, "bot_runner")
    assert state == job(status=status, policy={"a": 1}, tracing_context={})


def test_jobs_of_other_blueprints_are_left_alone() -> None:
    state = job(blueprint_name="other", policy={"a": 1}, tracing_context={"X-Client-Token": "token"})
    before = deepcopy(state)
    admit(state, "bot_runner")
    assert state == before
