"""The ``bot_runner`` blueprint: one request, one task, one answer.

::

    dispatch ──► finished
       ▲   └───► failed
       │           ▲
     retry ────────┘

What a worker answers decides: ``success`` ends the job with the task's data, ``rejected`` with the worker's
error, ``unavailable`` (the worker's own fault) sends it to ``retry``, a bounded number of times.
"""

# mypy: disable-error-code="untyped-decorator"

import asyncio
from typing import Any

from avtomatika.blueprint import Blueprint
from avtomatika.context import ActionFactory
from avtomatika.data_types import JobContext

from .actions import read_request
from .errors import Code, RequestRefused, complete_error, is_job_error, job_error
from .redaction import without_credentials
from .settings import Settings
from .storage import BotRunnerStorage
from .workers import wait_for_taker

NAME = "bot_runner"
_ATTEMPT = "_attempt"
_LONGEST_DELAY_SECONDS = 30.0


def bot_runner_blueprint(storage: BotRunnerStorage, settings: Settings) -> Blueprint:
    """The blueprint, served at ``POST /api/jobs/bot_runner``.

    Args:
        storage: Where workers are registered.
        settings: Its times and numbers of attempts.
    """
    blueprint = Blueprint(NAME, api_endpoint=f"jobs/{NAME}")

    # Avtomatika reads the transitions out of the handlers' source: states must stay literals in here.
    @blueprint.handler("dispatch", is_start=True)
    async def dispatch(context: JobContext, actions: ActionFactory) -> None:
        try:
            request = read_request(context.initial_data, context.client.params)
            action = request.action
            await wait_for_taker(storage, action.task, request.params, settings.worker_wait_seconds)
        except RequestRefused as refusal:
            context.state_history["error"] = refusal.error
            actions.go_to("failed")
            return
        actions.dispatch_task(
            action.task,
            request.params,
            transitions={"success": "finished", "rejected": "failed", "unavailable": "retry"},
            dispatch_strategy="least_connections",
            # Not result_timeout_seconds: it sends a deadline with a fraction, at which the SDK's poll raises.
            timeout_seconds=settings.start_timeout_seconds if action.slow else settings.task_timeout_seconds,
        )

    @blueprint.handler("retry")
    async def retry(context: JobContext, actions: ActionFactory) -> None:
        attempt = context.state_history.get(_ATTEMPT, 1)
        if attempt >= settings.retry_attempts:
            actions.go_to("failed")
            return
        await asyncio.sleep(min(settings.retry_delay_seconds * 2 ** (attempt - 1), _LONGEST_DELAY_SECONDS))
        # What the failed attempt left must not show up among the data of the next one.
        context.state_history.clear()
        context.state_history[_ATTEMPT] = attempt + 1
        actions.go_to("dispatch")

    # Avtomatika takes a job's result from the entry of the history that has the end state's name. It makes a
    # schema for the history out of the handler's return annotation: None would refuse every job.
    @blueprint.handler("finished", is_end=True)
    async def finished(context: JobContext) -> Any:
        data = {name: value for name, value in context.state_history.items() if name != _ATTEMPT}
        context.state_history.clear()
        context.state_history["finished"] = data

    @blueprint.handler("failed", is_end=True)
    async def failed(context: JobContext) -> Any:
        error = final_error(context.state_history)
        context.state_history.clear()
        context.state_history["failed"] = {"error": error}

    return blueprint


def final_error(history: dict[str, Any]) -> dict[str, Any]:
    """The error that a failed job ends with, from what its attempts left in the history."""
    reported = history.get("error")
    if not is_job_error(reported):
        return job_error(
            Code.WORKER_FAILED,
            "The worker refused the task without a reason.",
            hint="The operator finds more in the worker's log.",
            stage="task",
        )
    error = complete_error(without_credentials(reported))
    if (attempts := history.get(_ATTEMPT, 1)) > 1:
        error["details"] = {**error["details"], "attempts": attempts}
    return error
