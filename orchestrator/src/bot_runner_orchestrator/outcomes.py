"""Outcomes of failed tasks: tried again, or told to the client.

Avtomatika would retry a failure at once and then quarantine the job without telling the client why, or
count it against the worker. ``unavailable`` and ``rejected`` avoid that: they are statuses of the blueprint.
"""

from typing import Any

from avtomatika.middleware import BaseMiddleware
from rxon.constants import (
    ERROR_CODE_DEPENDENCY,
    ERROR_CODE_INTERNAL,
    ERROR_CODE_INVALID_INPUT,
    ERROR_CODE_LIMIT_EXCEEDED,
    ERROR_CODE_RESOURCE_EXHAUSTED,
    ERROR_CODE_TIMEOUT,
    ERROR_CODE_TRANSIENT,
    TASK_STATUS_FAILURE,
)

from .errors import Code, is_job_error, job_error

_WORTH_ANOTHER_TRY = frozenset(
    {
        ERROR_CODE_TRANSIENT,
        ERROR_CODE_TIMEOUT,
        ERROR_CODE_RESOURCE_EXHAUSTED,
        ERROR_CODE_LIMIT_EXCEEDED,
        ERROR_CODE_DEPENDENCY,
        ERROR_CODE_INTERNAL,
    }
)


class TaskOutcomes(BaseMiddleware):
    """Turns failures of one blueprint's tasks into ``unavailable`` or ``rejected``.

    Args:
        blueprint: Name of the blueprint; results of others pass through.
    """

    def __init__(self, blueprint: str) -> None:
        self._blueprint = blueprint

    async def process_inbound_result(
        self, context: dict[str, Any], result_payload: dict[str, Any]
    ) -> dict[str, Any]:
        """See the class.

        ``context`` is the job's state. An error that the worker itself put into ``data`` stays as it is;
        otherwise (the SDK failed the task before or after our code) one is left in the job's history, where
        ``data`` goes as well.
        """
        if (
            context.get("blueprint_name") != self._blueprint
            or result_payload.get("status") != TASK_STATUS_FAILURE
        ):
            return result_payload
        reported = result_payload.get("error")
        reported = reported if isinstance(reported, dict) else {}
        code = str(reported.get("code") or ERROR_CODE_TRANSIENT)
        data = result_payload.get("data")
        if not (isinstance(data, dict) and is_job_error(data.get("error"))):
            context["state_history"] = (context.get("state_history") or {}) | {
                "error": _error_of_the_sdk(code, str(reported.get("message") or ""))
            }
        status = "unavailable" if code in _WORTH_ANOTHER_TRY else "rejected"
        if status == "unavailable":
            # The next dispatch names the next one; until then the task is not this worker's to lose.
            context["task_worker_id"] = None
        # The message may quote anything, an exception's text for instance: it must not reach the history.
        return result_payload | {"status": status, "error": {"code": code}}


def _error_of_the_sdk(code: str, message: str) -> dict[str, Any]:
    if code == ERROR_CODE_INVALID_INPUT:
        return job_error(
            Code.INVALID_FIELD,
            f"The worker does not take these fields: {message or 'they do not fit'}.",
            stage="task",
            details={"worker_code": code},
        )
    if code in _WORTH_ANOTHER_TRY:
        return job_error(
            Code.WORKER_FAILED,
            "The worker failed at this task.",
            hint="Send the request again; the operator finds more in the worker's log.",
            details={"worker_code": code},
            stage="task",
        )
    return job_error(
        Code.TASK_REFUSED,
        "The worker refused the task.",
        hint="The operator finds more in the worker's log.",
        details={"worker_code": code},
        stage="task",
    )
