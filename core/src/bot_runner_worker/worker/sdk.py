"""The runner's tasks as skills of the Avtomatika SDK, outcomes as its results, events as its events."""

import logging
import os
from collections.abc import Awaitable, Callable
from time import time
from typing import Any
from uuid import uuid4

from avtomatika_worker.config import WorkerConfig
from rxon.models import WorkerEventPayload

from bot_runner_worker import __version__
from bot_runner_worker.diagnostics.watches import EngineWatch
from bot_runner_worker.model.errors import Code
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.model.requests import (
    CheckStatus,
    GetLogs,
    ListBots,
    RestartBot,
    StopBot,
    UserRequest,
)
from bot_runner_worker.model.results import timestamp
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Ending, Outcome
from bot_runner_worker.worker.resilient_worker import ResilientWorker
from bot_runner_worker.worker.transport import LONGEST_PAUSE

logger = logging.getLogger(__name__)

REJECTED = Ending.REJECTED.value
UNAVAILABLE = "unavailable"
"""What the orchestrator's blueprint turns a transient failure into, so that it can wait before it retries."""

TRANSIENT_ERROR = "TRANSIENT_ERROR"

TASKS_TAKEN = 10_000
"""Tasks that are taken from the orchestrator, most of which wait or are refused."""

LONGEST_HEARTBEAT = 3.0
"""Seconds between two heartbeats; their answers say which tasks were cancelled."""

_TASK_MODELS: dict[str, type[UserRequest]] = {
    "stop_bot": StopBot,
    "restart_bot": RestartBot,
    "get_logs": GetLogs,
    "list_bots": ListBots,
    "check_status": CheckStatus,
}


def build_worker(runner: Runner, engine: EngineWatch, ready: Callable[[], bool]) -> ResilientWorker:
    """The SDK's worker with the runner's tasks registered; it takes them while it is ready."""
    worker = ResilientWorker(
        ready=ready,
        drain_seconds=runner.settings.drain_seconds,
        worker_type=runner.settings.worker_type,
        # Who waits for what is ours to decide: the SDK would keep a stop waiting behind another's starts.
        max_concurrent_tasks=TASKS_TAKEN,
        config=_sdk_config(runner.settings),
    )
    for name in runner.tasks:
        worker.skill(
            name,
            version=__version__,
            input_schema=_routing_schema(runner, name),
            output_statuses=[REJECTED, UNAVAILABLE],
            properties=_properties(runner, name),
        )(_skill(runner, name, worker, engine))
    return worker


def message_of(event: BotEvent, settings: Settings) -> WorkerEventPayload:
    """A bot's event as the orchestrator keeps it in its history; signed when it is sent."""
    return WorkerEventPayload(
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
    config.HEARTBEAT_INTERVAL = min(config.HEARTBEAT_INTERVAL, LONGEST_HEARTBEAT)
    # The SDK's own would leave a worker alone for a minute after the orchestrator's return.
    config.POLL_BACKOFF_MAX = LONGEST_PAUSE
    config.REGISTRATION_RETRY_MAX_DELAY = LONGEST_PAUSE
    # Which process this is: the orchestrator gives out again what another one with the same id was at.
    config.EXTRA_CAPABILITIES = {**config.EXTRA_CAPABILITIES, "instance": str(uuid4())}
    # The transport tries again by itself.
    config.RESULT_MAX_RETRIES = 1
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


def _skill(
    runner: Runner, name: str, worker: ResilientWorker, engine: EngineWatch
) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def skill(
        params: dict[str, Any], task_id: str, job_id: str, send_progress: Callable[..., Awaitable[None]]
    ) -> dict[str, Any]:
        async def report(fraction: float, message: str) -> None:
            # Progress is a courtesy: a start must neither wait nor fail because it cannot be told.
            if worker.transport.failing:
                return
            try:
                await send_progress(task_id, job_id, fraction, message)
            except Exception as error:  # noqa: BLE001
                logger.debug("progress was not delivered: %s", error)

        outcome = await worker.tasks.run(runner.run_task(name, params, report))
        if outcome.error and outcome.error["code"] == Code.ENGINE_UNAVAILABLE:
            engine.suspect()
        return sdk_result(outcome)

    skill.__name__ = name
    return skill


def sdk_result(outcome: Outcome) -> dict[str, Any]:
    """An outcome as the SDK wants it returned from a skill."""
    result: dict[str, Any] = {"status": outcome.ending.value, "data": outcome.data}
    if outcome.ending is Ending.FAILURE and outcome.error is not None:
        result["error"] = {"code": TRANSIENT_ERROR, "message": outcome.error["message"]}
    return result
