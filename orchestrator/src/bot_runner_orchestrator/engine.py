"""Avtomatika's engine, set up for bots."""

import asyncio
import os
from collections import deque
from logging import getLogger
from time import time
from typing import Any

from aiohttp import web
from avtomatika.app_keys import EXECUTOR_KEY
from avtomatika.engine import OrchestratorEngine
from avtomatika.history.noop import NoOpHistoryStorage
from rxon.constants import HB_RESP_CANCEL_TASKS, JOB_STATUS_FAILED
from rxon.models import WorkerEventPayload
from rxon.security import create_server_ssl_context

from . import blueprint
from .api import bot_runner_middlewares, senders
from .clients import ClientDirectory
from .config import WATCH_SECONDS, configure_logging, make_config
from .errors import SetupError
from .executor import ResilientExecutor, resilient_executor
from .history import RedactedHistory, ensure_writable
from .jobs import is_final
from .memory_storage import BotRunnerMemoryStorage
from .outcomes import TaskOutcomes
from .rates import typed_refusals
from .redis_storage import BotRunnerRedisStorage, connect
from .settings import Settings
from .storage import BotRunnerStorage, OtherEngine
from .webhook import EventSelection, EventWebhook, Signer, message_of
from .worker_tokens import WorkerTokens
from .workers import LostTasks

logger = getLogger(__name__)

_SHUTDOWN_SECONDS = 1.0
_WEBHOOK_GRACE_SECONDS = 0.5
_HISTORY_UPKEEP_SECONDS = 30
_MIB = 1024 * 1024


class BotRunnerEngine(OrchestratorEngine):
    """The orchestrator engine with the ``bot_runner`` blueprint and everything that belongs to it.

    Args:
        settings: The orchestrator's settings.
        clients: Who may use the API.
        worker_tokens: Workers with a token of their own.
    """

    def __init__(
        self, settings: Settings, clients: ClientDirectory, worker_tokens: WorkerTokens | None = None
    ) -> None:
        self.settings = settings
        self.worker_tokens = worker_tokens or WorkerTokens()
        self.bot_storage = make_storage(settings, clients, self.worker_tokens)
        configure_logging(settings)
        super().__init__(self.bot_storage, make_config(settings))
        # The engine has just set up logging its own way: everything, to stdout.
        self.log_manager.stop()
        configure_logging(settings)
        # Outside of Avtomatika's rate limit, whose answers it explains, and inside of the compression.
        self.app.middlewares.insert(
            1, typed_refusals(self.bot_storage, settings.rate_limit_limit, settings.rate_limit_period)
        )
        self.app.middlewares.extend(
            bot_runner_middlewares(
                self.bot_storage,
                clients,
                blueprint.NAME,
                senders(clients, self._token_of_worker),
                settings.max_request_mb * _MIB,
                settings.max_requests_mb * _MIB,
            )
        )
        self.middleware_chain.add(TaskOutcomes(blueprint.NAME))
        self.register_blueprint(blueprint.bot_runner_blueprint(self.bot_storage, settings))
        self._upkeep: list[asyncio.Task[None]] = []
        self._ended = False
        self._webhook = make_webhook(settings)
        self._event_selection = EventSelection.parse(settings.events_webhook_types)
        self.on_worker_event.append(self._send_on)
        self._heartbeats: deque[str] = deque(maxlen=1000)

    async def start(self) -> None:
        """Start serving.

        Raises:
            SetupError: The address, certificate, storage or history cannot be used.
        """
        tls = self._tls_context()
        if not await self.bot_storage.ping():
            where = f"{self.settings.redis_host}:{self.settings.redis_port}"
            raise SetupError(f"cannot use Redis at {where}: it does not answer, or refuses REDIS_PASSWORD")
        ensure_writable(self.config.HISTORY_DATABASE_URI)
        self.setup()
        self.runner = web.AppRunner(
            self.app, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS, access_log=None
        )
        await self.runner.setup()
        self.site = web.TCPSite(self.runner, self.settings.api_host, self.settings.api_port, ssl_context=tls)
        try:
            await self.site.start()
        except OSError as exc:
            await self.stop()
            address = f"{self.settings.api_host}:{self.settings.api_port}"
            raise SetupError(f"cannot listen on {address}: {_reason(exc)}") from exc
        self._upkeep = [
            asyncio.create_task(self._watch_for_lost_workers()),
            asyncio.create_task(self._forget_old_history()),
        ]

    async def stop(self) -> None:
        """Stop serving, within about a second. May be called more than once."""
        if self._ended:
            return
        self._ended = True
        await super().stop()  # type: ignore[no-untyped-call]

    @property
    def port(self) -> int:
        """The port that the engine listens on."""
        return int(self.runner.addresses[0][1])

    async def on_startup(self, app: web.Application) -> None:
        """Start Avtomatika's parts, with our executor among them.

        Raises:
            SetupError: This version of Avtomatika makes its executor in another way.
        """
        with resilient_executor():
            await super().on_startup(app)
        if not isinstance(app[EXECUTOR_KEY], ResilientExecutor):
            await self.on_shutdown(app)
            raise SetupError("this version of Avtomatika does not fit: its executor cannot be replaced")

    async def on_shutdown(self, app: web.Application) -> None:
        """End without waiting for anybody's long poll."""
        for task in self._upkeep:
            task.cancel()
        await self.bot_storage.close_polls()
        if self._webhook:
            await self._webhook.close(_WEBHOOK_GRACE_SECONDS)
        await super().on_shutdown(app)
        if isinstance(self.bot_storage, BotRunnerRedisStorage):
            await self.bot_storage.aclose()

    async def handle_rxon_message(self, message_type: str, payload: Any, context: dict[str, Any]) -> Any:
        """Handle a worker's message.

        A heartbeat of a worker that is not registered (this process was restarted) is answered with 404,
        which makes the SDK register again; Avtomatika itself would say ``ok`` for ever. A heartbeat that the
        SDK sends twice within a second is no replay attack, as Avtomatika would have it, and has no effect.
        The answer names those of the worker's tasks that were cancelled, and the SDK ends them. Avtomatika
        looks for jobs with the tasks' ids, and finds none.

        A worker of another Docker Engine than the others' is refused with 409 and a sentence.

        No short-lived tokens are issued: the SDK asks for one as soon as it has a CA to trust, and then signs
        its messages with it, which Avtomatika goes on checking with the worker's first token.
        """
        if message_type in ("sts_token", "sts_refresh"):
            logger.info("Worker %s asked for a short-lived token.", context.get("worker_id_hint"))
            raise web.HTTPNotFound(text="short-lived tokens are not issued here")
        if message_type == "heartbeat" and self._is_repeated(payload):
            answer: Any = {"status": "ok"}
        else:
            try:
                answer = await super().handle_rxon_message(message_type, payload, context)
            except OtherEngine as refusal:
                logger.warning("Worker %s is refused: %s", context.get("worker_id_hint"), refusal)
                raise web.HTTPConflict(text=str(refusal)) from None
        if message_type == "heartbeat":
            worker_id = str(context.get("worker_id_hint"))
            if not await self.bot_storage.get_worker_info(worker_id):
                raise web.HTTPNotFound(text="worker not found: register again")
            if cancelled := await self.bot_storage.cancelled_among(_tasks_of(payload)):
                answer = {**answer, HB_RESP_CANCEL_TASKS: cancelled}
        return answer

    async def handle_task_failure(
        self, job_state: dict[str, Any], task_id: str, error_message: str | None
    ) -> None:
        """End a job whose task ran out of time.

        It is not given out again: the worker may be at it until it hears with its next heartbeat that nobody
        waits. (Failures that workers report do not come here; see :mod:`.outcomes`.)
        """
        if job_state.get("blueprint_name") != blueprint.NAME:
            await super().handle_task_failure(job_state, task_id, error_message)
            return

        def fail(state: dict[str, Any]) -> dict[str, Any]:
            return state | {"status": JOB_STATUS_FAILED, "error_message": error_message}

        await self.bot_storage.set_task_cancellation_flag(task_id)
        await self.bot_storage.update_job_state_atomic(job_state["id"], fail)

    async def handle_job_timeout(self, job_state: dict[str, Any]) -> None:
        """End a job whose time is up, in the history as well.

        Args:
            job_state: The job.
        """
        await super().handle_job_timeout(job_state)
        await self._log_end(job_state)

    async def cancel_job(self, job_id: str) -> bool:
        """Cancel a job, in the history as well.

        Args:
            job_id: The job.

        Returns:
            ``False`` if the job is unknown or has ended otherwise.
        """
        before = await self.bot_storage.get_job_state(job_id)
        cancelled = bool(await super().cancel_job(job_id))
        if before and cancelled:
            await self._log_end(before)
        return cancelled

    async def _log_end(self, before: dict[str, Any]) -> None:
        # Avtomatika does so only for the jobs that its executor ends.
        state = await self.bot_storage.get_job_state(before["id"])
        if state and is_final(state) and not is_final(before):
            await self.history_storage.log_job_event(
                {
                    "job_id": state["id"],
                    "client_token": (state.get("client_config") or {}).get("token"),
                    "state": state["status"],
                    "event_type": "job_completed",
                    "timestamp": time(),
                    "context_snapshot": state,
                }
            )

    def _token_of_worker(self, worker_id: str) -> str | None:
        return self.worker_tokens.find(worker_id) or self.config.GLOBAL_WORKER_TOKEN

    def _is_repeated(self, heartbeat: Any) -> bool:
        security = heartbeat.get("security") if isinstance(heartbeat, dict) else None
        signature = security.get("signature") if isinstance(security, dict) else None
        if signature in self._heartbeats:
            return True
        if signature:
            self._heartbeats.append(signature)
        return False

    async def _setup_history_storage(self) -> None:
        await super()._setup_history_storage()
        if self.config.HISTORY_DATABASE_URI and isinstance(self.history_storage, NoOpHistoryStorage):
            raise SetupError("cannot use the history at HISTORY_DATABASE_URI: the log says why")
        self.history_storage = self._redacted_history = RedactedHistory(self.history_storage)

    async def _send_on(self, worker_id: str, event: WorkerEventPayload) -> None:
        # Avtomatika has checked the worker's signature and keeps the event in the history.
        if self._webhook and self._event_selection.has(event.event_type, event.payload):
            self._webhook.offer(
                message_of(worker_id, event.event_id, event.event_type, event.payload, event.timestamp)
            )

    async def _forget_old_history(self) -> None:
        while True:
            try:
                await self._redacted_history.forget(
                    self.settings.history_retention_days, self.settings.history_max_mb * _MIB
                )
            except Exception:  # a database that is busy for a moment must not end the upkeep
                logger.exception("Old entries of the history were not removed.")
            await asyncio.sleep(_HISTORY_UPKEEP_SECONDS)

    async def _watch_for_lost_workers(self) -> None:
        lost_tasks = LostTasks(self.bot_storage, blueprint.NAME, self.settings.worker_ttl_seconds)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await lost_tasks.release()
            except Exception:  # a storage that is down for a moment must not end the watch
                logger.exception("Looking for lost workers failed.")

    def _tls_context(self) -> Any:
        if not self.config.TLS_ENABLED:
            return None
        try:
            return create_server_ssl_context(
                cert_path=self.config.TLS_CERT_PATH,
                key_path=self.config.TLS_KEY_PATH,
                ca_path=self.config.TLS_CA_PATH,
                require_client_cert=self.config.TLS_REQUIRE_CLIENT_CERT,
            )
        except OSError as exc:  # ssl's own errors among them
            raise SetupError(f"cannot use TLS_CERT_PATH, TLS_KEY_PATH or TLS_CA_PATH: {exc}") from exc


def _tasks_of(heartbeat: Any) -> list[str]:
    tasks = heartbeat.get("current_tasks") if isinstance(heartbeat, dict) else None
    return [task for task in tasks if isinstance(task, str)] if isinstance(tasks, list) else []


def _reason(error: OSError) -> str:
    # asyncio puts a sentence with the address around the system's own.
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)


def make_webhook(settings: Settings) -> EventWebhook | None:
    """The webhook that the settings ask for; nothing is connected yet."""
    if settings.events_webhook_url is None or settings.events_webhook_secret is None:
        return None
    signer = Signer(settings.events_webhook_secret.get_secret_value())
    return EventWebhook(settings.events_webhook_url.get_secret_value(), signer)


def make_storage(
    settings: Settings, clients: ClientDirectory, worker_tokens: WorkerTokens
) -> BotRunnerStorage:
    """The storage that the settings ask for; nothing is connected yet."""
    common: dict[str, Any] = {
        "clients": clients,
        "worker_tokens": worker_tokens,
        "blueprint": blueprint.NAME,
        "retention_seconds": settings.job_retention_hours * 3600,
        "logs_retention_seconds": settings.logs_retention_minutes * 60,
    }
    if settings.storage_kind == "memory":
        return BotRunnerMemoryStorage(**common, bytes_of_tenant=settings.max_requests_mb * _MIB)
    return BotRunnerRedisStorage(connect(settings), **common)
