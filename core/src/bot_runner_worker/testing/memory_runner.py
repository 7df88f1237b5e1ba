"""A runner over an Engine in memory: the worker's own tasks and plugins, in milliseconds, without Docker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.runner import load_plugins
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.tasks.progress import Report
from bot_runner_worker.tasks.task_runner import TaskRunner
from bot_runner_worker.testing.memory_images import MemoryImages
from bot_runner_worker.testing.memory_runtime import MemoryRuntime
from bot_runner_worker.testing.source_server import ALLOWED


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
        self.admission = Admission(self.runtime, settings.max_bots_per_user)
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
