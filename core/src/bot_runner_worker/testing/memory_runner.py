"""A runner over an Engine in memory: the worker's own tasks and plugins, in milliseconds, without Docker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.container_config import container_config
from bot_runner_worker.bots.log_pages import page_of, position_of
from bot_runner_worker.bots.protocol import LogPage
from bot_runner_worker.bots.records import STATUS_OF_END
from bot_runner_worker.bots.start_errors import start_failed
from bot_runner_worker.engine import EngineError
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import BotStatus
from bot_runner_worker.model.spec import BotRecord, BotSpec, EndReason
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.runner import load_plugins
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.tasks.progress import Report
from bot_runner_worker.tasks.task_runner import TaskRunner
from bot_runner_worker.testing.memory_images import MemoryImages
from bot_runner_worker.testing.source_server import ALLOWED


class MemoryRuntime:
    """Implements :class:`bot_runner_worker.bots.protocol.BotRuntime`.

    A bot runs from its start until somebody ends it. It prints nothing, and never crashes. As on the Engine,
    one without any command does not start, and leaves nothing.

    Args:
        settings: Namespace and limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bots: dict[BotKey, BotRecord] = {}
        self.specs: dict[BotKey, BotSpec] = {}
        """What each bot was started with."""
        self.configs: dict[BotKey, dict[str, Any]] = {}
        """The body of the call that would create each bot's container."""

    async def find(self, bot: BotKey) -> BotRecord | None:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        return self._bots.get(bot)

    async def list_bots(self, user_id: str | None = None) -> list[BotRecord]:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        found = [each for each in self._bots.values() if user_id in (None, each.bot.user_id)]
        return sorted(found, key=lambda each: (each.started_at, each.bot.bot_id))

    async def launch(self, spec: BotSpec, replacing: BotRecord | None = None) -> BotRecord:
        """See :class:`BotRuntime`."""
        config = container_config(spec, self._settings, f"{self._settings.docker_network}-{spec.bot.bot_id}")
        await asyncio.sleep(0)
        if config.get("Cmd") == [] and config.get("Entrypoint") == []:
            raise start_failed(EngineError(400, "No command specified"))
        record = BotRecord(
            bot=spec.bot,
            status=BotStatus.RUNNING,
            id=uuid4().hex + uuid4().hex,
            name=spec.bot.container_name(self._settings.runner_namespace),
            mode=spec.mode,
            source=spec.source,
            image=spec.image.reference,
            request_digest=spec.request_digest,
            spec_digest=spec.digest(),
            started_at=spec.started_at.replace(microsecond=0),
            expires_at=spec.expires_at.replace(microsecond=0),
            environment=dict(spec.environment),
        )
        self._bots[spec.bot] = record
        self.specs[spec.bot] = spec
        self.configs[spec.bot] = config
        return record

    async def restart(self, record: BotRecord) -> BotRecord:
        """See :class:`BotRuntime`."""
        return self._set(record, status=BotStatus.RUNNING, end_reason=None, exit_code=None)

    async def end(self, record: BotRecord, reason: EndReason = EndReason.STOPPED) -> None:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        self._set(record, status=STATUS_OF_END[reason], end_reason=reason)

    def _set(self, record: BotRecord, **changes: Any) -> BotRecord:
        changed = replace(self._bots.get(record.bot, record), **changes)
        self._bots[record.bot] = changed
        return changed

    async def remove(self, record: BotRecord) -> None:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        for kept in (self._bots, self.specs, self.configs):
            kept.pop(record.bot, None)

    async def logs(self, bot: BotKey, *, lines: int, since: str | None) -> tuple[BotRecord, LogPage] | None:
        """See :class:`BotRuntime`."""
        position_of(since)
        record = await self.find(bot)
        return None if record is None else (record, page_of([], lines=lines, since=since, max_bytes=1))

    async def remove_all(self) -> int:
        """Remove all bots; returns how many there were."""
        count = len(self._bots)
        for record in list(self._bots.values()):
            await self.remove(record)
        return count


async def ignore_progress(fraction: float, message: str) -> None:
    """A progress report that nobody reads."""


class MemoryRunner:
    """A runner without an Engine.

    Args:
        settings: The operator's settings.
        plugins: Loaded plugins; by default, those that are installed.
    """

    def __init__(self, settings: Settings, plugins: Plugins | None = None) -> None:
        self.settings = settings
        self.plugins = plugins or load_plugins(settings)
        self.images = MemoryImages(settings)
        self.runtime = MemoryRuntime(settings)
        self.admission = Admission(self.runtime, settings.max_bots_per_user, settings.max_concurrent_tasks)
        self.task_runner = TaskRunner(settings, self.plugins, self.images, self.runtime, self.admission)

    async def task(self, task: str, report: Report = ignore_progress, **params: Any) -> Outcome:
        """Run a task with these params."""
        return await self.task_runner.run_task(task, params, report)

    async def start(self, user_id: str = "alice", bot_id: str = "bot", **params: Any) -> Outcome:
        """Run ``start_bot``."""
        return await self.task("start_bot", user_id=user_id, bot_id=bot_id, **params)

    async def leftovers(self) -> list[str]:
        """Names of the bots that are there, or being worked on."""
        bots = [f"bot: {record.name}" for record in await self.runtime.list_bots()]
        return bots + [f"busy: {bot}" for bot in self.admission.busy()]


def memory_settings(**changes: Any) -> Settings:
    """Settings of a runner in memory: those of the environment, few of its own, and what a test changes."""
    defaults = {
        "worker_token": SecretStr("test-worker-token"),
        "runner_namespace": f"memory-{uuid4().hex[:12]}",
        "base_image": "python:3.12-slim",
        "source_addresses_allowed": f"{ALLOWED}/32",
        "source_timeout_seconds": 10,
    }
    return Settings.load(**{**defaults, **changes})


@asynccontextmanager
async def memory_runner(*, plugins: Plugins | None = None, **settings: Any) -> AsyncIterator[MemoryRunner]:
    """A runner over an Engine in memory.

    Args:
        plugins: Loaded plugins; by default, those that are installed.
        settings: By their names in lower case.
    """
    runner = MemoryRunner(memory_settings(**settings), plugins)
    try:
        yield runner
    finally:
        await runner.plugins.close()
