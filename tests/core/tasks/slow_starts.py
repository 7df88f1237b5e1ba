"""Starts that take as long as a test needs."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conftest import BASE_IMAGE, RunnerUnderTest
from tests.core.examples import BOT, context_of

from bot_runner_worker.engine import containers
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.testing.waiting import SCALE, until

SLOW_DOCKERFILE = f"""\
FROM {BASE_IMAGE}
RUN echo half-built > /tmp/half-built
RUN sleep 300
CMD ["sleep", "1000"]
"""
"""A build of five minutes, with a step before the long one."""


def slow_build(**params: Any) -> dict[str, Any]:
    """Params of a start whose build goes on until it is ended."""
    archive = base64.b64encode(context_of(SLOW_DOCKERFILE, "gz")).decode()
    return {**BOT, "deployment_mode": "custom", "archive": archive, **params}


async def build_step(runner: RunnerUnderTest) -> list[str]:
    """Ids of the containers of builds, once the long step runs; none if it never does."""
    wanted = {"io.avtomatika.bot-runner.namespace": runner.settings.runner_namespace}
    rows = await containers.list_by_labels(runner.engine, wanted)
    return [row["Id"] for row in rows if "sleep 300" in row["Command"]]


class SlowStart:
    """A start that has come to the long step of its build.

    Args:
        task: Its task.
    """

    def __init__(self, task: asyncio.Task[Outcome]) -> None:
        self.task = task

    @classmethod
    async def building(cls, runner: RunnerUnderTest, **params: Any) -> "SlowStart":
        """Begin a start, and return as soon as its build is in the middle of it."""
        task = asyncio.create_task(runner.task("start_bot", **slow_build(**params)))

        async def at_its_step() -> bool:
            assert not task.done(), f"the start has ended: {task.result()}"
            return bool(await build_step(runner))

        await until(at_its_step, 120, "the build comes to its long step")
        return cls(task)

    async def error(self) -> dict[str, Any]:
        """The error that it ended with."""
        async with asyncio.timeout(60 * SCALE):
            outcome = await self.task
        assert outcome.error is not None, outcome
        return outcome.error


@asynccontextmanager
async def slow_step(
    step: str, owner: Any = containers, *, seconds: float = 0.2, begun: bool = False
) -> AsyncIterator[asyncio.Event]:
    """Let the Engine take a moment for a step; what it has begun by the end is waited for.

    Args:
        step: A function's name.
        owner: Whose function it is.
        seconds: How long it takes.
        begun: The Engine is in the middle of it when the event says so, and goes on whoever is cancelled.

    Yields:
        Says that the step is reached.
    """
    real = getattr(owner, step)
    reached = asyncio.Event()
    work: set[asyncio.Task[Any]] = set()

    async def slow(*args: Any) -> Any:
        if not begun:
            reached.set()
            await asyncio.sleep(seconds)
            return await real(*args)
        task = asyncio.create_task(real(*args))
        work.add(task)
        await asyncio.sleep(0.01)
        reached.set()
        return await asyncio.shield(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, slow)
        yield reached
    if work:
        await asyncio.wait(work)
