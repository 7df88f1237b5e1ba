"""Outcomes of tasks; the only place where errors become data."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot_runner_worker.engine import EngineError
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.model.errors import BotRunnerError, Code, Unavailable, disk_full
from bot_runner_worker.model.results import Result
from bot_runner_worker.redaction import Redactor

logger = logging.getLogger(__name__)


class Ending(StrEnum):
    """The ways in which a task ends; the values are statuses of the SDK, and ours."""

    SUCCESS = "success"
    REJECTED = "rejected"
    """The request cannot be served; it is not retried and costs no reputation."""
    FAILURE = "failure"
    """Our side is at fault; the orchestrator tries again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended, and its result.

    Args:
        ending: How it ended.
        data: The result's data, or ``{"error": {code, message, hint, details, stage}}``.
    """

    ending: Ending
    data: dict[str, Any]

    @property
    def error(self) -> dict[str, Any] | None:
        """The error, unless the task succeeded."""
        return None if self.ending is Ending.SUCCESS else self.data["error"]


async def outcome_of(work: Callable[[], Awaitable[Result]], redactor: Redactor) -> Outcome:
    """Run a task's work; returns its result or its error without secrets."""
    try:
        return Outcome(Ending.SUCCESS, redactor.data((await work()).to_dict()))
    except BotRunnerError as error:
        if isinstance(error.__cause__, (EngineError, BuildError)):
            # Tenants are shown less of it.
            logger.info("%s, in the Engine's words: %s", error.code, redactor.text(str(error.__cause__)))
        failure = error
    except EngineError as error:
        logger.warning("the Engine refused a call: %s", redactor.text(str(error)))
        failure = _refused(error)
        failure.__cause__ = error
    except Exception as error:
        logger.exception("a task failed unexpectedly")
        failure = Unavailable(
            Code.INTERNAL_ERROR,
            f"The worker failed unexpectedly ({type(error).__name__}).",
            hint="Try again later; the operator finds the cause in the worker's log.",
        )
    ending = Ending.FAILURE if isinstance(failure, Unavailable) else Ending.REJECTED
    return Outcome(ending, {"error": redactor.data(failure.to_dict())})


def _refused(error: EngineError) -> Unavailable:
    if error.disk_full:
        return disk_full()
    return Unavailable(
        Code.ENGINE_FAILED,
        "The Docker Engine refused a call.",
        hint="Try again later; the operator finds the cause in the worker's log.",
    )
