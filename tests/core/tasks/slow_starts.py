"""Starts that take as long as a test needs."""

import asyncio
import base64
import io
import tarfile
from typing import Any

from tests.conftest import BASE_IMAGE, RunnerUnderTest

from bot_runner_worker.engine import containers
from bot_runner_worker.tasks.outcome import Outcome

SLOW_DOCKERFILE = f"""\
FROM {BASE_IMAGE}
RUN echo half-built > /tmp/half-built
RUN sleep 300
CMD ["sleep", "1000"]
"""
"""A build of five minutes, with a step before the long one."""


def slow_build(**params: Any) -> dict[str, Any]:
    """Params of a start whose build goes on until it is ended."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(SLOW_DOCKERFILE)
        tar.addfile(member, io.BytesIO(SLOW_DOCKERFILE.encode()))
    archive = base64.b64encode(buffer.getvalue()).decode()
    return {"user_id": "alice", "bot_id": "bot", "deployment_mode": "custom", "archive": archive, **params}


async def build_step(runner: RunnerUnderTest) -> list[str]:
    """Ids of the containers of builds, once the long step runs; none if it never does."""
    wanted = {"io.avtomatika.bot-runner.namespace": runner.settings.runner_namespace}
    rows = await containers.list_by_labels(runner.engine, wanted)
    return [row["Id"] for row in rows if "sleep 300" in row["Command"]]


class SlowStart:
    """A start that has come to the long step of its build, or to a given point.

    Args:
        runner: The worker that is busy with it.
        task: Its task.
    """

    def __init__(self, runner: RunnerUnderTest, task: asyncio.Task[Outcome]) -> None:
        self.runner = runner
        self.task = task

    @classmethod
    async def building(cls, runner: RunnerUnderTest, **params: Any) -> "SlowStart":
        """Begin a start, and return as soon as its build is in the middle of it."""
        task = asyncio.create_task(runner.task("start_bot", **slow_build(**params)))
        async with asyncio.timeout(60):
            while not await build_step(runner):
                if task.done():
                    raise AssertionError(f"the start has ended: {task.result()}")
                await asyncio.sleep(0.05)
        return cls(runner, task)

    async def error(self) -> dict[str, Any]:
        """The error that it ended with."""
        async with asyncio.timeout(30):
            outcome = await self.task
        assert outcome.error is not None, outcome
        return outcome.error
