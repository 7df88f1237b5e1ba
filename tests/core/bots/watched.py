"""Runners whose limits are watched, and bots that misbehave on the real Engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.conftest import RunnerUnderTest

from bot_runner_worker.bots.limits_watch import LimitViolation
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.testing.waiting import until


class Watched:
    """What a runner tells about the bots that its watch ends."""

    def __init__(self) -> None:
        self.events: list[BotEvent] = []

    async def hear(self, event: BotEvent) -> None:
        if event.type != EventType.STARTED:
            self.events.append(event)

    async def end(self) -> tuple[str, str, object]:
        """The first bot that ends, with what and why; there must be no other one."""
        await until(lambda: self.events, 90, "a bot is ended")
        (found,) = [(each.bot.bot_id, each.type.value, each.details.get("reason")) for each in self.events]
        return found


@asynccontextmanager
async def watched(runner: RunnerUnderTest) -> AsyncIterator[Watched]:
    """The runner with its limits watched, and its supervisor, which must not take an end for a death."""
    result = Watched()
    runner.runner.announcer.listen(result.hear)
    work = [
        asyncio.create_task(runner.runner.limits_watch.run()),
        asyncio.create_task(runner.runner.supervisor.run()),
    ]
    try:
        yield result
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)


async def nobody(violation: LimitViolation) -> None:
    """Stands for what is done with a bot that does too much: here, none does."""
    raise AssertionError(violation)
