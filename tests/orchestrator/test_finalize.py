"""What stays of a job that is over."""

from typing import Any

import pytest

from bot_runner_orchestrator.jobs import finalize, is_final
from bot_runner_orchestrator.storage import by_monotonic_clock, by_wall_clock

SECRET = "s3cr3t"


def job(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "blueprint_name": "bot_runner",
        "status": status,
        "initial_data": {"env_vars": {"T": SECRET}},
        "current_task_info": {"params": {"code": SECRET}},
        "tracing_context": {"X-Client-Token": SECRET},
        "state_history": {"a": SECRET},
        "client_config": {"token": "client:alice"},
        **more,
    }


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        ("cancelled", "", "JOB_CANCELLED"),
        ("failed", "Worker task timed out: execution/result deadline reached.", "TASK_TIMED_OUT"),
        ("quarantined", "No suitable workers for task type 'start_bot'", "NO_WORKER_AVAILABLE"),
        (
            "quarantined",
            "No worker satisfies the resource requirements for task 'x'. Reasons: {'schema: timeout': 1}",
            "NO_WORKER_AVAILABLE",
        ),
        ("quarantined", "Task x failed after 4 attempts: why", "INTERNAL_ERROR"),
        ("error", "", "INTERNAL_ERROR"),
    ],
)
def test_job_without_a_result_gets_an_error(status: str, message: str, code: str) -> None:
    state = finalize(job(status, error_message=message, result="the last thing in the history"), "bot_runner")
    error = state["result"]["error"]
    assert error["code"] == code
    assert set(error) == {"code", "message", "hint", "details", "stage"}
    assert error["hint"]


def test_secrets_are_dropped_and_the_owner_kept() -> None:
    state = finalize(job("finished", result={"status": "started"}), "bot_runner")
    assert SECRET not in str(state)
    assert state["result"] == {"status": "started"}
    assert state["client_config"] == {"token": "client:alice"}
    assert is_final(state)


def test_jobs_that_go_on_and_those_of_others_are_left_alone() -> None:
    for state in (job("running"), job("failed", blueprint_name="another")):
        before = dict(state)
        assert finalize(state, "bot_runner") == before


@pytest.mark.parametrize("moment", [1_900_000_000.0, 5000.0])
def test_both_clocks_lead_to_each_other(moment: float) -> None:
    there_and_back = by_wall_clock(by_monotonic_clock(moment))
    assert by_monotonic_clock(there_and_back) == pytest.approx(by_monotonic_clock(moment), abs=1)
