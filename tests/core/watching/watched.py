"""Runners whose watcher is at work, and bots that misbehave on the real Engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.conftest import RunnerUnderTest

from bot_runner_worker.events import BotEvent, EventType

PATIENCE = 90.0
"""Seconds for what takes ten on an idle machine."""


class Watched:
    """A runner whose watcher is at work.

    Args:
        runner: The runner.
    """

    def __init__(self, runner: RunnerUnderTest) -> None:
        self.runner = runner
        self.events: list[BotEvent] = []

    async def hear(self, event: BotEvent) -> None:
        self.events.append(event)

    async def status(self, bot_id: str) -> str:
        return str((await self.report(bot_id))["status"])

    async def report(self, bot_id: str) -> dict[str, object]:
        return (await self.runner.task("check_status", user_id="alice", bot_id=bot_id)).data

    def ends(self) -> list[tuple[str, str, object]]:
        """The events of bots that ended: of which, what, and why."""
        found = [event for event in self.events if event.type != EventType.STARTED]
        return [(event.bot.bot_id, event.type.value, event.details.get("reason")) for event in found]


@asynccontextmanager
async def watched(runner: RunnerUnderTest) -> AsyncIterator[Watched]:
    """The runner with its watcher at work, and its supervisor, which must not take an end for a death."""
    result = Watched(runner)
    runner.runner.announcer.listen(result.hear)
    work = [
        asyncio.create_task(runner.runner.watcher.run()),
        asyncio.create_task(runner.runner.supervisor.run()),
    ]
    try:
        yield result
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.2)
