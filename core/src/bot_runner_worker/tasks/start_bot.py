"""The start of a bot, in stages: build context, image, container options, container."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from bot_runner_worker.aio import Turn
from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.container_config import root_note
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.engine import ENGINE_TROUBLE
from bot_runner_worker.images.context import bounded_notes, notes_of
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected
from bot_runner_worker.model.events import EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.quantities import MIB
from bot_runner_worker.model.requests import ResourceLimits, StartBot
from bot_runner_worker.model.results import Started, timestamp
from bot_runner_worker.model.spec import BotRecord, BotSpec, Limits, digest_of
from bot_runner_worker.plugins.catalogue import DeploymentRequest
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.plugins.tools import ImageProvider, RequestImages, Tools
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.progress import Stage, StartProgress

logger = logging.getLogger(__name__)


class BotStarter:
    """Starts bots.

    Args:
        settings: Limits and namespace.
        plugins: The loaded plugins.
        images: Provides images.
        runtime: Runs bots.
        admission: Who may start how many.
        announcer: Publishes events.
        ensure_closed: Raises unless bots are closed off from the host as far as that is required.
    """

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        images: ImageProvider,
        runtime: BotRuntime,
        admission: Admission,
        announcer: Announcer,
        ensure_closed: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._plugins = plugins
        self._images = images
        self._runtime = runtime
        self._admission = admission
        self._announcer = announcer
        self._ensure_closed = ensure_closed

    async def start(self, params: Mapping[str, Any], progress: StartProgress) -> Started:
        """Serve a ``start_bot`` task.

        Args:
            params: The task's raw params.
            progress: Called at each stage.

        Raises:
            Rejected: If the request cannot be served; nothing of it is left.
            Unavailable: If trying again may help; nothing of it is left.
        """
        start, request = self._plugins.claim(params)
        limits = _effective_limits(start.resource_limits, self._settings)
        request_digest = _request_digest(params)

        async def work(turn: Turn) -> Started:
            existing = await self._runtime.find(start.bot)
            live = existing if existing is not None and existing.status.is_live else None
            if live is not None and not start.replace:
                return _answer_for_running(live, request_digest)
            await self._ensure_closed()
            images = RequestImages(self._images, turn.lent)
            try:
                return await self._deploy(start, request, limits, request_digest, existing, images, progress)
            except asyncio.CancelledError:
                if existing is None:
                    await asyncio.shield(self._take_back(start.bot))
                raise

        content = f"{request_digest} {start.replace}"
        answer, joined = await self._admission.start(start.bot, work, content=content, mode=request.mode)
        return replace(answer, status="already_running", replaced=False, notes=[]) if joined else answer

    async def _take_back(self, bot: BotKey) -> None:
        """Remove a bot that came up at the very moment when its start was cancelled."""
        try:
            record = await self._runtime.find(bot)
            if record is not None:
                await self._runtime.remove(record)
                await self._announcer.tell(EventType.REMOVED, record)
        except ENGINE_TROUBLE as error:
            logger.warning("a bot whose start was cancelled could not be removed: %s", error)

    async def _deploy(
        self,
        start: StartBot,
        request: DeploymentRequest[BaseModel],
        limits: Limits,
        request_digest: str,
        existing: BotRecord | None,
        images: RequestImages,
        progress: StartProgress,
    ) -> Started:
        stage = Stage.PREPARE
        tools = Tools(self._settings, images, start.user_id, progress.within)
        with ExitStack() as cleanup:
            try:
                await progress.enter(stage)
                context = await self._plugins.prepare_build_context(request, tools)
                if context is not None:
                    cleanup.callback(context.close)

                stage = Stage.RESOLVE
                await progress.enter(stage)
                image = await self._plugins.resolve_image(request, context, tools)

                stage = Stage.OPTIONS
                await progress.enter(stage)
                options = await self._plugins.container_options(request, image, tools)

                stage = Stage.START
                await progress.enter(stage)
                now = datetime.now(UTC)
                spec = BotSpec(
                    bot=start.bot,
                    mode=request.mode,
                    source=request.source,
                    image=image,
                    options=options,
                    environment=start.env_vars,
                    limits=limits,
                    request_digest=request_digest,
                    started_at=now,
                    expires_at=now + timedelta(hours=self._settings.bot_max_runtime_hours),
                )
                live = existing is not None and existing.status.is_live
                if existing is not None and live and existing.spec_digest == spec.digest():
                    return started(existing, "already_running")
                record = await self._runtime.launch(spec, replacing=existing)
            except BotRunnerError as error:
                error.stage = error.stage or stage.value
                raise
        await self._announcer.tell(EventType.STARTED, record)
        notes = bounded_notes([*notes_of(context), *tools.notes, *root_note(spec, self._settings)])
        return started(record, "started", replaced=live, notes=notes)


def _request_digest(params: Mapping[str, Any]) -> str:
    # "replace" says what to do about a running bot, not what the bot is.
    return digest_of({name: value for name, value in params.items() if name != "replace"})


def _answer_for_running(live: BotRecord, request_digest: str) -> Started:
    if live.request_digest == request_digest:
        return started(live, "already_running")
    raise Rejected(
        Code.BOT_ALREADY_RUNNING,
        f"The bot {live.bot.bot_id} is already running with other content.",
        hint='Send "replace": true to replace it, or stop it first.',
        details={"container_name": live.name, "status": live.status},
        stage="start",
    )


def started(
    record: BotRecord, status: str, *, replaced: bool = False, notes: list[str] | None = None
) -> Started:
    """The result of a task that has started a bot."""
    return Started(
        status=status,
        container_id=record.id,
        container_name=record.name,
        started_at=timestamp(record.started_at),
        expires_at=timestamp(record.expires_at),
        image=record.image,
        mode=record.mode,
        replaced=replaced,
        notes=notes or [],
    )


def _effective_limits(wanted: ResourceLimits, settings: Settings) -> Limits:
    """The operator's limits, lowered where the request says so.

    Raises:
        Rejected: ``LIMIT_TOO_HIGH`` if the request asks for more than the operator's settings allow.
    """
    memory_mb = settings.container_memory_limit // MIB
    ceilings: dict[str, float] = {
        "memory_mb": memory_mb,
        "cpu_cores": settings.container_cpu_limit,
        "pids": settings.container_pids_limit,
    }
    for name, ceiling in ceilings.items():
        value = getattr(wanted, name)
        if value is not None and value > ceiling:
            raise Rejected(
                Code.LIMIT_TOO_HIGH,
                f"resource_limits.{name} is {value}, but bots may have {ceiling} at most here.",
                hint=f"Ask for {ceiling} or less, or leave {name} out.",
                details={"field": f"resource_limits.{name}", "limit": ceiling},
                stage="request",
            )
    return Limits(
        memory=settings.container_memory_limit if wanted.memory_mb is None else wanted.memory_mb * MIB,
        cpu=settings.container_cpu_limit if wanted.cpu_cores is None else wanted.cpu_cores,
        pids=settings.container_pids_limit if wanted.pids is None else wanted.pids,
    )
