"""Errors that the orchestrator itself gives to clients, in the form that the worker's errors have too.

The tree::

    SetupError          the operator's settings are wrong; the process does not start
    RequestRefused      the request never reaches a worker; its ``error`` is the job's result
"""

from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Stable codes of the errors that arise in the orchestrator; workers add their own."""

    MISSING_REQUIRED_FIELD = "MISSING_REQUIRED_FIELD"
    INVALID_FIELD = "INVALID_FIELD"
    INVALID_USER_ID = "INVALID_USER_ID"
    UNKNOWN_ACTION = "UNKNOWN_ACTION"
    FORBIDDEN_USER = "FORBIDDEN_USER"
    UNAUTHORIZED = "UNAUTHORIZED"
    RATE_LIMITED = "RATE_LIMITED"
    CLIENT_QUOTA_EXCEEDED = "CLIENT_QUOTA_EXCEEDED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    INVALID_LIMIT = "INVALID_LIMIT"
    INVALID_DEPLOYMENT_MODE = "INVALID_DEPLOYMENT_MODE"
    MISSING_SOURCE = "MISSING_SOURCE"
    NO_WORKER_AVAILABLE = "NO_WORKER_AVAILABLE"
    WORKER_LOST = "WORKER_LOST"
    WORKER_FAILED = "WORKER_FAILED"
    TASK_REFUSED = "TASK_REFUSED"
    TASK_TIMED_OUT = "TASK_TIMED_OUT"
    JOB_CANCELLED = "JOB_CANCELLED"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class SetupError(Exception):
    """The operator's settings or files are wrong; the text says which and what to do."""


class RequestRefused(Exception):
    """A request that ends its job before any worker sees it.

    Args:
        error: The job's error, made by :func:`job_error`.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


def job_error(
    code: str, message: str, *, hint: str = "", details: dict[str, Any] | None = None, stage: str
) -> dict[str, Any]:
    """An error as clients see it: ``{code, message, hint, details, stage}``.

    Args:
        code: Stable upper-case identifier.
        message: One sentence that says what is wrong.
        hint: One sentence that says what to do about it.
        details: Data for programs.
        stage: Where it happened: ``request``, ``dispatch`` or ``task`` for errors of the orchestrator.
    """
    return {"code": str(code), "message": message, "hint": hint, "details": details or {}, "stage": stage}


def is_job_error(value: Any) -> bool:
    """Whether ``value`` is an error with a code, as :func:`job_error` makes them."""
    return isinstance(value, dict) and isinstance(value.get("code"), str) and bool(value["code"])


def complete_error(error: dict[str, Any]) -> dict[str, Any]:
    """``error`` with all five fields, whatever a worker left out."""
    return job_error(
        error["code"],
        str(error.get("message") or error["code"]),
        hint=str(error.get("hint") or ""),
        details=error["details"] if isinstance(error.get("details"), dict) else None,
        stage=str(error.get("stage") or "task"),
    )
