"""Glue to the Avtomatika SDK: the runner's tasks as skills, outcomes as the SDK's results."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from time import time
from typing import Any
from uuid import uuid4

import msgspec
from avtomatika_worker import Worker
from avtomatika_worker.config import WorkerConfig
from rxon.models import WorkerEventPayload

from bot_runner_worker import __version__
from bot_runner_worker.events import BotEvent
from bot_runner_worker.logs import hide_secrets, set_up_logging
from bot_runner_worker.redaction import Redactor
from bot_runner_worker.requests import (
    CheckStatus,
    GetLogs,
    ListBots,
    RestartBot,
    StopBot,
    UserRequest,
)
from bot_runner_worker.results import timestamp
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Ending, Outcome

logger = logging.getLogger(__name__)

REJECTED = Ending.REJECTED.value
UNAVAILABLE = "unavailable"
"""What the orchestrator's blueprint turns a transient failure into, so that it can wait before it retries."""

TRANSIENT_ERROR = "TRANSIENT_ERROR"

POLLING_PAUSE = 1.0
"""Seconds between a poll that failed in an unforeseen way and the next."""

_TASK_MODELS: dict[str, type[UserRequest]] = {
    "stop_bot": StopBot,
    "restart_bot": RestartBot,
    "get_logs": GetLogs,
    "list_bots": ListBots,
    "check_status": CheckStatus,
}


def run_worker(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT; bots go on running."""
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    token = Redactor([settings.worker_token.get_secret_value()])
    async with Runner(settings) as runner:
        worker = build_worker(runner)
        set_up_logging(settings)  # after the SDK, which sets up logging of its own
        for report in runner.plugins.reports:
            if report.status == "refused":
                logger.warning("plugin %s left out: %s %s", report.name, report.problem, report.hint)
        logger.info(
            "worker %s, namespace %s, modes: %s",
            settings.worker_id,
            settings.runner_namespace,
            ", ".join(runner.plugins.catalogue.modes()) or "none",
        )
        runner.announcer.listen(lambda event: emit(worker, settings, event))
        supervising = asyncio.create_task(runner.supervisor.run())
        try:
            with hide_secrets(token):
                await worker.main()
        finally:
            supervising.cancel()


class PersistentWorker(Worker):
    """The SDK's worker, which goes on polling for tasks whatever happens to a poll.

    A task that the SDK cannot read ends its polling for good, and nothing says so: the worker keeps sending
    heartbeats and never takes another task (avtomatika-worker 1.0b20).
    """

    async def _start_polling(self) -> None:
        while True:
            try:
                await super()._start_polling()
            except Exception:
                logger.exception("polling for tasks failed; going on in %.0f s", POLLING_PAUSE)
                await asyncio.sleep(POLLING_PAUSE)
            else:
                return  # told to shut down


def build_worker(runner: Runner) -> Worker:
    """The SDK's worker with the runner's tasks registered."""
    worker = PersistentWorker(
        worker_type=runner.settings.worker_type,
        max_concurrent_tasks=runner.settings.max_concurrent_tasks,
        config=_sdk_config(runner.settings),
    )
    for name in runner.tasks:
        worker.skill(
            name,
            version=__version__,
            input_schema=_routing_schema(runner, name),
            output_statuses=[REJECTED, UNAVAILABLE],
            properties=_properties(runner, name),
        )(_skill(runner, name))
    return worker


async def emit(worker: Worker, settings: Settings, event: BotEvent) -> None:
    """Publish a bot's event to the orchestrator, which keeps it in its history."""
    message = WorkerEventPayload(
        event_id=str(uuid4()),
        worker_id=settings.worker_id,
        origin_worker_id=settings.worker_id,
        event_type=event.type.value,
        payload={
            "user_id": event.bot.user_id,
            "bot_id": event.bot.bot_id,
            "mode": event.mode,
            "at": timestamp(event.at),
            **event.details,
        },
        timestamp=int(time()),
    )
    # The orchestrator refuses events without a signature; the SDK signs only those of running tasks.
    security = worker._sign_payload_if_needed(message, ignore_fields=["bubbling_chain"])
    await worker.emit_event(msgspec.structs.replace(message, security=security))


def _sdk_config(settings: Settings) -> WorkerConfig:
    config = WorkerConfig()
    config.WORKER_ID = settings.worker_id
    config.WORKER_TYPE = settings.worker_type
    config.WORKER_TOKEN = settings.worker_token.get_secret_value()
    config.ORCHESTRATORS = [{"url": settings.orchestrator_url, "priority": 1, "weight": 1}]
    # The SDK loads Python files from this folder of the working directory; our skills come from plugins.
    config.WORKER_SKILLS_DIR = os.path.join(os.devnull, "no-such-folder")
    # A pause after each empty or taken poll; the poll itself waits at the orchestrator.
    config.IDLE_POLL_DELAY = 0.05
    return config


def _routing_schema(runner: Runner, name: str) -> dict[str, Any]:
    # Bad input must reach a worker, or the client would hear "no worker" instead of what is wrong with it.
    return runner.plugins.catalogue.routing_schema() if name == "start_bot" else {"type": "object"}


def _properties(runner: Runner, name: str) -> dict[str, Any]:
    if name != "start_bot":
        return {"params_schema": _TASK_MODELS[name].model_json_schema()}
    catalogue = runner.plugins.catalogue
    return {
        "modes": {mode: {"sources": sources} for mode, sources in catalogue.modes().items()},
        "params_schema": catalogue.request_schema(),
    }


def _skill(runner: Runner, name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def skill(
        params: dict[str, Any], task_id: str, job_id: str, send_progress: Callable[..., Awaitable[None]]
    ) -> dict[str, Any]:
        async def report(fraction: float, message: str) -> None:
            try:
                await send_progress(task_id, job_id, fraction, message)
            # Progress is a courtesy: a start must not fail because it cannot be told.
            except Exception as error:  # noqa: BLE001
                logger.debug("progress was not delivered: %s", error)

        return sdk_result(await runner.run_task(name, params, report))

    skill.__name__ = name
    return skill


def sdk_result(outcome: Outcome) -> dict[str, Any]:
    """An outcome as the SDK wants it returned from a skill."""
    result: dict[str, Any] = {"status": outcome.ending.value, "data": outcome.data}
    if outcome.ending is Ending.FAILURE and outcome.error is not None:
        result["error"] = {"code": TRANSIENT_ERROR, "message": outcome.error["message"]}
    return result
