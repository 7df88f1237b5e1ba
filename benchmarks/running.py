"""A runner as a worker's process has it, with its work in the background, and shortcuts that rows need."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from benchmarks.docker_api import Docker
from bot_runner_worker.model.identity import NAMESPACE, BotKey
from bot_runner_worker.runner import Runner

REST_SECONDS = 0.8
"""A runner is at rest when its networks have not changed for so long: it makes the next one half a second
after the last start."""

LONGEST_REST = 20.0

IDLE_BOT = "import time\nprint('ready', flush=True)\nwhile True:\n    time.sleep(1)\n"


def new_code() -> str:
    """The source of a bot that was never seen before, and waits."""
    return f"{IDLE_BOT}# {uuid4().hex}\n"


class TaskFailed(Exception):
    """A task did not succeed; the message is its error."""


async def ignore_progress(_fraction: float, _message: str) -> None:
    """A progress report that nobody reads."""


class BenchRunner:
    """A runner whose tasks are timed.

    Args:
        runner: The runner.
        docker: The same Engine.
    """

    def __init__(self, runner: Runner, docker: Docker) -> None:
        self.runner = runner
        self._docker = docker
        self.namespace = runner.settings.runner_namespace

    async def task(self, name: str, **params: Any) -> dict[str, Any]:
        """Run a task and return its data.

        Raises:
            TaskFailed: If it does not succeed.
        """
        outcome = await self.runner.run_task(name, params, ignore_progress)
        if outcome.error is not None:
            raise TaskFailed(f"{name}: {outcome.error}")
        return outcome.data

    async def timed(self, name: str, **params: Any) -> float:
        """Run a task and return the seconds that it took."""
        began = time.perf_counter()
        await self.task(name, **params)
        return time.perf_counter() - began

    async def start(self, user_id: str, bot_id: str = "bot", **params: Any) -> float:
        """Start a bot and return the seconds that it took; by default a new bot in mode ``simple``."""
        if "deployment_mode" not in params:
            params = {"deployment_mode": "simple", "code": new_code(), **params}
        return await self.timed("start_bot", user_id=user_id, bot_id=bot_id, **params)

    async def start_and_remove(self, **params: Any) -> float:
        """Start a bot of a tenant of its own and return the seconds; afterwards all is as before."""
        user_id = f"tenant-{uuid4().hex[:8]}"
        took = await self.start(user_id, **params)
        await self.remove(user_id)
        await self.at_rest()
        return took

    async def remove(self, user_id: str, bot_id: str = "bot") -> None:
        """Remove a bot's container and network."""
        record = await self.runner.runtime.find(BotKey(user_id, bot_id))
        if record is not None:
            await self.runner.runtime.remove(record)

    async def at_rest(self) -> None:
        """Wait until the work in the background has made and removed what it wants to.

        Bytecode of new packages is compiled beside the next starts, with an eighth of their weight. Here it
        would be measured with whatever is next in turn.
        """
        await self.runner.images.packages.settled()
        deadline = time.monotonic() + LONGEST_REST
        seen, since = self._networks(), time.monotonic()
        while time.monotonic() < min(deadline, since + REST_SECONDS):
            await asyncio.sleep(0.1)
            now = await asyncio.to_thread(self._networks)
            if now != seen:
                seen, since = now, time.monotonic()

    def _networks(self) -> frozenset[str]:
        mine = {"label": [f"{NAMESPACE}={self.namespace}"]}
        return frozenset(row["Id"] for row in self._docker.json("GET", "/networks", filters=mine))


@asynccontextmanager
async def in_background(runner: Runner) -> AsyncIterator[None]:
    """Keep a runner's background work going while the block runs, as a worker's process does.

    See :mod:`bot_runner_worker.worker.process`. What a worker fetches once, in its first seconds, is there
    when the block begins.
    """
    await runner.images.prepare()
    loops = (runner.supervisor.run(), runner.watcher.run(), runner.networks_ahead.run())
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)
