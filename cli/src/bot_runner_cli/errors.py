"""Every error that ends a command, and the exit codes that scripts see.

The tree::

    CliError                   code, message, hint, details, stage; exit code
    ├── UsageError             2: the command line asks for something that cannot be sent
    ├── AccessError            3: the orchestrator refuses us, or is none
    │   └── UnreachableError   3: no answer; polling tries again
    ├── RequestError           1: the answer is an error; some codes have an exit code of their own
    ├── BotDiedError           5: the bot started and then ended
    ├── TemporaryError         6: the service is busy or at fault
    │   └── WaitTimeoutError   6: our own patience is over
    └── UserInterruptError     130: Ctrl-C
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Self


class ExitCode(IntEnum):
    """What the command tells the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_ACCESS = 3
    NOT_RUNNING = 4
    DIED = 5
    TRY_LATER = 6
    INTERRUPTED = 130


EXIT_CODE_MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the request was rejected or failed; the same request will fail again",
    ExitCode.USAGE: "the command line is wrong, or a file it names cannot be sent",
    ExitCode.NO_ACCESS: "the orchestrator cannot be reached, or refuses the token or the user",
    ExitCode.NOT_RUNNING: "there is no such bot, or (status) it is not running",
    ExitCode.DIED: "the bot started and ended within seconds",
    ExitCode.TRY_LATER: "not now: no worker, engine down or time over; try again later",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}

# Where the service, not the request, is at fault.
_WORTH_ANOTHER_TRY = (
    "BASE_IMAGE_UNAVAILABLE",
    "ENGINE_FAILED",
    "ENGINE_UNAVAILABLE",
    "INTERNAL_ERROR",
    "NO_WORKER_AVAILABLE",
    "TASK_TIMED_OUT",
    "TOO_MANY_REQUESTS",
    "TRANSIENT_ERROR",
    "WORKER_FAILED",
    "WORKER_LOST",
    "WORKER_STOPPING",
)
_EXIT_CODES: Mapping[str, ExitCode] = {
    "BOT_NOT_FOUND": ExitCode.NOT_RUNNING,
    "FORBIDDEN_USER": ExitCode.NO_ACCESS,
    **dict.fromkeys(_WORTH_ANOTHER_TRY, ExitCode.TRY_LATER),
}


class CliError(Exception):
    """Base of all errors of the command.

    Args:
        code: Stable upper-case identifier, the orchestrator's or worker's own where the error is theirs.
        message: What is wrong, for people.
        hint: What to do about it.
        details: Data for programs.
        stage: Where it happened.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
        stage: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = dict(details or {})
        self.stage = stage

    def to_dict(self) -> dict[str, Any]:
        """The error as ``--json`` shows it: ``{code, message, hint, details, stage}``."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
            "stage": self.stage,
        }

    @property
    def details_for_people(self) -> Mapping[str, Any]:
        """Those of the details that the message does not tell already."""
        return self.details


class UsageError(CliError):
    """The command line asks for something that cannot be sent."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *, hint: str = "", code: str = "USAGE") -> None:
        super().__init__(code, message, hint=hint, stage="command line")


class AccessError(CliError):
    """The orchestrator refuses us, or what answers is no orchestrator."""

    exit_code = ExitCode.NO_ACCESS


class UnreachableError(AccessError):
    """The orchestrator does not answer."""


class RequestError(CliError):
    """The answer to the request is an error."""

    @classmethod
    def from_answer(cls, error: Mapping[str, Any]) -> Self:
        """Build it from a job's ``error`` object, whatever of its fields are there."""
        details = error.get("details")
        failed = cls(
            str(error.get("code") or "JOB_FAILED"),
            str(error.get("message") or "The request failed."),
            hint=str(error.get("hint") or ""),
            details=details if isinstance(details, Mapping) else None,
            stage=str(error.get("stage") or ""),
        )
        failed.exit_code = _EXIT_CODES.get(failed.code, ExitCode.FAILED)
        return failed


class BotDiedError(CliError):
    """The bot came up and ended while it was being watched."""

    exit_code = ExitCode.DIED

    @property
    def details_for_people(self) -> Mapping[str, Any]:
        """The bot's last words; the message has the rest."""
        return {"last lines": self.details.get("logs")}


class TemporaryError(CliError):
    """The service is busy or at fault.

    Args:
        retry_after: Seconds that the service asks to wait, if it says so.
    """

    exit_code = ExitCode.TRY_LATER

    def __init__(self, code: str, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(code, message, hint=hint)
        self.retry_after = retry_after


class WaitTimeoutError(TemporaryError):
    """The job did not end within ``--timeout``."""


class UserInterruptError(CliError):
    """Ctrl-C."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("INTERRUPTED", message, hint=hint)
