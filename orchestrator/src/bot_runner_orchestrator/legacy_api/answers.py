"""Jobs and errors of ours as the older API's clients read them. Pure functions.

The client prints what it gets as Rich markup: a bot's log with a line such as ``[/start] from 42`` would end
it with a traceback, and ``[info]`` would not be seen. So texts are escaped here for exactly that.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from rxon.constants import JOB_STATUS_FINISHED, TERMINAL_STATES

COMPLETED, FAILED, UNDER_WAY = "completed", "failed", "running"

_MARKUP_TAG = re.compile(r"(\\*)(\[[a-z#/@][^[\n]*?\])")
# What our own hints advise is not in that client's power.
_HINTS = {"BOT_ALREADY_RUNNING": "Use the command update to replace it, or stop it first."}


def job_answer(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job of ours, as ``GET /api/jobs/{id}`` shows it, in the older form.

    Returns:
        ``current_state`` is ``completed`` or ``failed`` once it is over. A completed job has the task's
        data in ``state_history`` and, as one text for each field, in ``data.result``; a failed one has
        ``data.error``.
    """
    status = job.get("status")
    answer = {"job_id": job.get("id"), "status": status}
    if status not in TERMINAL_STATES:
        doing = str(job.get("progress_message") or UNDER_WAY)
        # A plugin is free to call a step of its own "completed"; the client would take it for the end.
        return answer | {"current_state": UNDER_WAY if doing in (COMPLETED, FAILED) else shown(doing)}
    result = job.get("result")
    result = result if isinstance(result, dict) else {}
    if status == JOB_STATUS_FINISHED:
        return answer | {
            "current_state": COMPLETED,
            "state_history": shown(result),
            "data": {"result": _texts(result)},
        }
    error = error_answer(result.get("error"))
    # For list, logs and status the client looks for the error inside of the error.
    return answer | {
        "current_state": FAILED,
        "state_history": {},
        "data": {"error": error | {"error": error}},
    }


def error_answer(error: Any) -> dict[str, Any]:
    """An error of ours with all its texts ready to be printed; its details are one text each."""
    error = error if isinstance(error, Mapping) else {}
    details = error.get("details")
    return {
        "code": str(error.get("code") or "ERROR"),
        "message": shown(str(error.get("message") or "The job failed.")),
        "hint": shown(_HINTS.get(str(error.get("code")), str(error.get("hint") or ""))),
        "details": _texts(details) if isinstance(details, Mapping) else {},
        "stage": str(error.get("stage") or ""),
    }


def shown(value: Any) -> Any:
    """A copy of JSON-like data whose texts Rich prints as they are."""
    if isinstance(value, str):
        return _MARKUP_TAG.sub(r"\1\1\\\2", value)
    if isinstance(value, Mapping):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields for one line each; the client would show lists and objects as Python does."""
    return {str(name): shown(_text(value)) for name, value in values.items()}


def _text(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, (list, Mapping)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value
