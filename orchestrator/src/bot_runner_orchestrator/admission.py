"""What of a request for a job becomes part of the job. Pure functions.

Besides ``initial_data``, Avtomatika takes a handful of fields out of the body and passes some of them on to
workers unchecked: a ``metadata`` that is no object, or any ``result_timeout`` (it becomes a deadline with a
fraction), makes the SDK's poll raise, and its worker never asks for tasks again. None of them has a use here,
and ``webhook_url`` would make the orchestrator call any address that a client names. It also keeps all
headers of the request with the job, the client's token among them, until it begins to work on it.
"""

from collections.abc import Mapping
from typing import Any

from rxon.constants import JOB_STATUS_PENDING

UNSUPPORTED = "_unsupported"
_TRACING_HEADERS = frozenset({"traceparent", "tracestate", "baggage"})
_FIELDS = (
    "dispatch_timeout",
    "max_transitions",
    "metadata",
    "policy",
    "result_timeout",
    "security",
    "webhook_url",
)


def admit(state: dict[str, Any], blueprint: str) -> None:
    """Take the fields that this orchestrator does not support out of a new job, in place, and all headers.

    The fields' names stay in the job's history, for the blueprint to refuse the job.
    """
    if state.get("blueprint_name") != blueprint or state.get("status") != JOB_STATUS_PENDING:
        return
    headers = state.get("tracing_context")
    if isinstance(headers, Mapping):
        state["tracing_context"] = {
            name: value for name, value in headers.items() if name.lower() in _TRACING_HEADERS
        }
    if given := [name for name in _FIELDS if state.get(name) is not None]:
        state.update(dict.fromkeys(given))
        state["state_history"] = {UNSUPPORTED: given}
    # Avtomatika merges the metadata of a worker's result into it, and fails where it is None.
    state["metadata"] = {}
