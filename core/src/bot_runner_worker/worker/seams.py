"""The private names of the SDK (avtomatika-worker, rxon) that this package uses, and what each is for.

Nothing here is a promise of theirs: the SDK is pinned exactly, and a test compares this table with the
installed version. After an upgrade it says which name has changed, and what breaks without it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Seam:
    """One private name.

    Attributes:
        owner: ``module:class`` that has it.
        name: The name.
        used_in: Our module.
        breaks: What goes wrong without it.
        parameters: Those of a method, ``self`` included; ``None`` for an attribute.
    """

    owner: str
    name: str
    used_in: str
    breaks: str
    parameters: tuple[str, ...] | None = None


_WORKER = "avtomatika_worker.worker:Worker"
_USED_IN = "resilient_worker"

SEAMS = (
    Seam(_WORKER, "_config", _USED_IN, "the worker knows neither its orchestrator nor its token"),
    Seam(_WORKER, "_clients", _USED_IN, "the SDK's transport is used: results of an outage are lost"),
    Seam(_WORKER, "_ssl_context", _USED_IN, "the operator's CA and certificate are not used"),
    Seam(_WORKER, "_init_clients", _USED_IN, "as for _clients", ("self",)),
    Seam(
        _WORKER,
        "_sign_payload_if_needed",
        _USED_IN,
        "the orchestrator refuses results and events",
        ("self", "payload", "ignore_fields", "identity_chain"),
    ),
    Seam(_WORKER, "_active_tasks", _USED_IN, "a worker that is told to stop does not wait for its tasks"),
    Seam(_WORKER, "_result_queue", _USED_IN, "results are lost when the worker is told to stop"),
    Seam(_WORKER, "_queue_worker_task", _USED_IN, "the end of a worker without an orchestrator takes longer"),
    Seam(_WORKER, "_shutdown_event", _USED_IN, "the worker cannot be stopped from within"),
    Seam(
        _WORKER,
        "_perform_shutdown_cleanup",
        _USED_IN,
        "tasks are cut off when the worker is told to stop",
        ("self", "comm_task", "polling_task", "token_rotation_task"),
    ),
    Seam(
        _WORKER, "_get_current_state", _USED_IN, "a worker without an Engine goes on taking tasks", ("self",)
    ),
    Seam(_WORKER, "_last_heartbeat_times", _USED_IN, "a change of status is told up to 2 s later"),
    Seam(
        _WORKER,
        "_schedule_heartbeat_debounce",
        _USED_IN,
        "each heartbeat that is not delivered leaves a traceback in the log",
        ("self",),
    ),
    Seam(_WORKER, "_send_single_heartbeat", _USED_IN, "a change of status is not told", ("self", "client")),
    Seam(_WORKER, "_start_polling", _USED_IN, "a task that cannot be read ends the polling", ("self",)),
    Seam(
        "rxon.transports.http:HttpTransport",
        "_request",
        "transport",
        "an orchestrator that answers 5xx is asked 20 times a second, and no request has a time limit",
        ("self", "method", "endpoint", "params", "json", "timeout"),
    ),
)
