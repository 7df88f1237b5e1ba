"""Errors of containers that do not start, in the terms of the bot's author."""

import re

from bot_runner_worker.engine import EngineError
from bot_runner_worker.engine.messages import cause_of
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable, disk_full

_RUNTIME_MISSING = re.compile(r"unknown (or invalid )?runtime", re.IGNORECASE)


def start_failed(error: EngineError) -> BotRunnerError:
    """The error of a container that the Engine did not create, or not start.

    The Engine's own words are for the operator, see :func:`bot_runner_worker.tasks.outcome.outcome_of`.
    """
    if error.disk_full:
        return disk_full()
    if _RUNTIME_MISSING.search(error.message):
        return Unavailable(
            Code.CONTAINER_RUNTIME_MISSING,
            "The Docker Engine does not have the runtime that bots are to be run with.",
            hint="This is for the operator: see bot-runner-worker doctor, and CONTAINER_RUNTIME.",
            stage="start",
        )
    cause = cause_of(error.message)
    return Rejected(
        Code.START_FAILED,
        "The bot's container could not be started.",
        hint=cause.hint,
        details={"reason": cause.reason},
        stage="start",
    )
