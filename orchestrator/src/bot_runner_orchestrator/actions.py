"""Requests of clients: ``action`` and its fields, as a task for a worker. Pure functions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import Code, RequestRefused, job_error
from .redaction import HiddenParams, looks_secret, shown_name

_TOO_LARGE = 2**63
"""What no signed integer of 64 bits holds; msgpack, orjson and the Engine have those."""


@dataclass(frozen=True)
class Action:
    """One value of ``action``.

    Attributes:
        task: Name of the worker's skill.
        required: Fields that the request must have.
        slow: Whether it may build or pull an image.
    """

    task: str
    required: tuple[str, ...] = ("bot_id",)
    slow: bool = False


ACTIONS: dict[str, Action] = {
    "start": Action("start_bot", ("bot_id", "deployment_mode"), slow=True),
    "stop": Action("stop_bot"),
    "restart": Action("restart_bot", slow=True),
    "logs": Action("get_logs"),
    "status": Action("check_status"),
    "list": Action("list_bots", ()),
}


@dataclass(frozen=True)
class TaskRequest:
    """A task that may be given to a worker: its action and its params, user included."""

    action: Action
    params: HiddenParams


def read_request(initial_data: Any, client: Mapping[str, Any]) -> TaskRequest:
    """Check the action, the user and the required fields of a request.

    Args:
        initial_data: The job's ``initial_data``, as the client sent it.
        client: The client's params: ``user_id``, ``may_act_for_others``.

    Raises:
        RequestRefused: ``INVALID_FIELD``, ``INVALID_LIMIT``, ``MISSING_REQUIRED_FIELD``, ``UNKNOWN_ACTION``,
            ``INVALID_USER_ID`` or ``FORBIDDEN_USER``.
    """
    if not isinstance(initial_data, Mapping):
        raise _refused(
            Code.INVALID_FIELD,
            "initial_data must be an object.",
            'Send {"initial_data": {"action": "list"}}.',
            field="initial_data",
        )
    action = _action(initial_data.get("action"))
    user_id = _user_id(initial_data.get("user_id"), client)
    for field in action.required:
        # Only presence: what a field may hold is the worker's to say, with codes of its own.
        if initial_data.get(field) is None:
            raise _refused(
                Code.MISSING_REQUIRED_FIELD,
                f"{field} is missing.",
                f"{initial_data['action']} needs {' and '.join(action.required)}.",
                field=field,
            )
    params = {name: value for name, value in initial_data.items() if name != "action"}
    _refuse_huge_numbers(params)
    return TaskRequest(action, HiddenParams(params, user_id=user_id))


def _action(name: Any) -> Action:
    names = ", ".join(sorted(ACTIONS))
    if name in (None, ""):
        raise _refused(
            Code.MISSING_REQUIRED_FIELD, "action is missing.", f"Use one of {names}.", field="action"
        )
    action = ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise _refused(
            Code.UNKNOWN_ACTION,
            f"There is no action {shown_name(name)}.",
            f"Use one of {names}.",
            field="action",
            allowed=sorted(ACTIONS),
        )
    return action


def _user_id(requested: Any, client: Mapping[str, Any]) -> str:
    own = str(client["user_id"])
    if requested is None:
        return own
    # Telegram's user ids are numbers, and front ends pass them on as such.
    if isinstance(requested, int) and not isinstance(requested, bool):
        requested = str(requested)
    if not isinstance(requested, str) or not requested:
        raise _refused(
            Code.INVALID_USER_ID,
            "user_id must be a text.",
            "Leave user_id out to act for your own user.",
            field="user_id",
        )
    if requested != own and not client.get("may_act_for_others"):
        raise _refused(
            Code.FORBIDDEN_USER,
            f"This client acts for user {own!r} only.",
            "Leave user_id out, or ask the operator for a client that may act for others.",
            field="user_id",
        )
    return requested


def _refuse_huge_numbers(params: Mapping[str, Any]) -> None:
    """Refuse numbers that no protocol behind this carries; Avtomatika would quarantine the job."""
    rest: list[tuple[str, Any]] = list(params.items())
    while rest:
        field, value = rest.pop()
        if isinstance(value, Mapping):
            rest += [(field, item) for item in value.values()]
        elif isinstance(value, list):
            rest += [(field, item) for item in value]
        elif isinstance(value, (int, float)) and not (math.isfinite(value) and abs(value) < _TOO_LARGE):
            code = Code.INVALID_LIMIT if field == "resource_limits" else Code.INVALID_FIELD
            shown = "a field" if looks_secret(field) else field
            raise _refused(
                code,
                f"A number in {shown} is beyond all limits.",
                "Send numbers of less than 2 to the power of 63.",
                field=shown,
            )


def _refused(code: Code, message: str, hint: str, **details: Any) -> RequestRefused:
    return RequestRefused(job_error(code, message, hint=hint, details=details, stage="request"))
