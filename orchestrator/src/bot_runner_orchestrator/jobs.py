"""Fields of a job when it is new, and once it is over. Pure functions."""

from collections.abc import Mapping
from typing import Any

from rxon.constants import (
    JOB_STATUS_CANCELLED,
    JOB_STATUS_FAILED,
    JOB_STATUS_FINISHED,
    JOB_STATUS_PENDING,
    TERMINAL_STATES,
)

from .errors import Code, is_job_error, job_error

LOGS = "logs"
"""The action whose result is a bot's log."""

_TRACING_HEADERS = frozenset({"traceparent", "tracestate", "baggage"})
# Avtomatika takes these from the body and passes some on to workers unchecked. A metadata that is no object,
# or any result_timeout (it becomes a deadline with a fraction), makes the SDK's poll raise, and its worker
# never asks for tasks again. webhook_url would make it call any address that a client names.
_UNSUPPORTED_FIELDS = (
    "dispatch_timeout",
    "max_transitions",
    "metadata",
    "policy",
    "result_timeout",
    "security",
    "webhook_url",
)


def admit(state: dict[str, Any], blueprint: str) -> None:
    """Remove all headers but tracing from a job, and unsupported fields from a new one, in place.

    A job with such fields fails at once: it may never be queued.
    Avtomatika keeps all headers of the request with the job, the client's token among them, until it begins
    to work on it; with one that is refused (see :func:`drop_request`) it never does.

    Args:
        state: The job.
        blueprint: Name of the blueprint whose jobs are checked.
    """
    if state.get("blueprint_name") != blueprint:
        return
    headers = state.get("tracing_context")
    if isinstance(headers, Mapping):
        state["tracing_context"] = {
            name: value for name, value in headers.items() if name.lower() in _TRACING_HEADERS
        }
    if state.get("status") != JOB_STATUS_PENDING:
        return
    if given := [name for name in _UNSUPPORTED_FIELDS if state.get(name) is not None]:
        state.update(dict.fromkeys(given))
        _refuse(
            state,
            Code.INVALID_FIELD,
            f"Not supported here: {', '.join(given)}.",
            "Send initial_data only, and ask for the job's state at GET /api/jobs/{id}.",
            given[0],
        )
    # Avtomatika merges the metadata of a worker's result into it, and fails where it is None.
    state["metadata"] = {}


def drop_request(state: dict[str, Any]) -> None:
    """Drop what a new job's request holds, in place: the job fails at once, for want of room."""
    state["initial_data"] = {}
    _refuse(
        state,
        Code.TOO_MANY_REQUESTS,
        "This user has too many large requests under way, or all users together have.",
        "Wait for their answers, then send it again; or let the worker fetch the code.",
    )


def tenant_of(state: Mapping[str, Any]) -> str:
    """The user that a new job is for, as far as its client may choose."""
    client = (state.get("client_config") or {}).get("params") or {}
    wanted = state.get("initial_data")
    named = (
        wanted.get("user_id") if client.get("may_act_for_others") and isinstance(wanted, Mapping) else None
    )
    return str(named or client.get("user_id"))


def _refuse(state: dict[str, Any], code: str, message: str, hint: str, field: str = "") -> None:
    error = job_error(code, message, hint=hint, details={"field": field} if field else {}, stage="request")
    state |= {"status": JOB_STATUS_FAILED, "current_state": "failed", "result": {"error": error}}


# Named one by one, so that a field which a later Avtomatika adds is not kept unseen.
_KEPT = frozenset(
    {
        "id",
        "action",  # of a request for logs, whose result is let go sooner
        "blueprint_name",
        "status",
        "current_state",
        "result",
        "progress",
        "progress_message",
        "client_config",
        "created_at",
        "updated_at",
        "timestamp",
        "current_task_id",
        "task_worker_id",
        "parent_job_id",
        "step",
        "depth",
        "sealed",  # says that it is finalized; jobs of earlier versions in Redis have it, too
    }
)


def asks_for_logs(state: Mapping[str, Any]) -> bool:
    """Whether the job's result is a bot's log."""
    wanted = state.get("initial_data")
    return isinstance(wanted, Mapping) and wanted.get("action") == LOGS


def is_final(state: dict[str, Any]) -> bool:
    """Whether the job is over and finalized: nothing changes it any more."""
    return bool(state.get("sealed"))


def finalize(state: dict[str, Any], blueprint: str) -> dict[str, Any]:
    """Finalize a job that is over, in place: what is kept is its result.

    Its ``result`` holds the task's data or, always, ``{"error": …}``; params, headers, the task and
    everything else that may be secret or large is dropped. Jobs that go on, and those of other blueprints,
    are left alone.

    Returns:
        The same ``state``.
    """
    status = state.get("status")
    if state.get("blueprint_name") != blueprint or status not in TERMINAL_STATES or is_final(state):
        return state
    if asks_for_logs(state):
        state["action"] = LOGS
    result = state.get("result")
    if status == JOB_STATUS_FINISHED:
        state["result"] = result if isinstance(result, dict) else {}
    elif not (isinstance(result, dict) and is_job_error(result.get("error"))):
        state["result"] = {"error": _missing_error(str(status), str(state.get("error_message") or ""))}
    state["sealed"] = True
    for name in [name for name in state if name not in _KEPT]:
        del state[name]
    return state


def _missing_error(status: str, message: str) -> dict[str, Any]:
    """The error of a job that Avtomatika ended by itself, judged by its message, which is never quoted."""
    if status == JOB_STATUS_CANCELLED:
        return job_error(
            Code.JOB_CANCELLED,
            "The job was cancelled.",
            hint="A task that a worker had begun may have been completed: check with status.",
            stage="task",
        )
    if message.startswith("Worker task timed out"):
        return job_error(
            Code.TASK_TIMED_OUT,
            "The task was not done in time.",
            hint="The worker may still be at it: check with status before you send the request again.",
            stage="task",
        )
    if message.startswith(("No suitable worker", "No worker")):
        return job_error(
            Code.NO_WORKER_AVAILABLE,
            "No worker could take the task.",
            hint="Send the request again; if that does not help, ask the operator.",
            stage="dispatch",
        )
    return job_error(
        Code.INTERNAL_ERROR,
        "The orchestrator could not complete the job.",
        hint="The operator finds more in the orchestrator's log.",
        stage="dispatch",
    )
