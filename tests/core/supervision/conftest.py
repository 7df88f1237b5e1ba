"""A runner whose supervisor runs, and whose events are kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest

from bot_runner_worker.events import BotEvent
from bot_runner_worker.runner import Runner


class Supervised:
    """A runner under test with what its listeners hear.

    Args:
        runner: The runner.
    """

    def __init__(self, runner: RunnerUnderTest) -> None:
        self.under_test = runner
        self.runner: Runner = runner.runner
        self.supervisor = runner.runner.supervisor
        self.start = runner.start
        self.task = runner.task
        self.engine = runner.engine
        self.containers = runner.containers
        self.leftovers = runner.leftovers
        self.heard: list[BotEvent] = []
        self.runner.announcer.listen(self._listen)
        self._running: asyncio.Task[None] | None = None

    async def _listen(self, event: BotEvent) -> None:
        self.heard.append(event)

    def kinds(self) -> list[str]:
        """What was heard, without the starts."""
        return [event.type.value for event in self.heard if event.type.value != "bot_started"]

    def begin(self) -> None:
        """Let the supervisor run."""
        self._running = asyncio.create_task(self.supervisor.run())

    async def end(self) -> None:
        """End the supervisor, as a worker that is stopped does."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            self._running = None

    async def status(self, bot_id: str = "bot") -> dict[str, Any]:
        """The answer to ``check_status``."""
        return (await self.task("check_status", user_id="alice", bot_id=bot_id)).data

    async def status_after(self, *statuses: str, bot_id: str = "bot") -> dict[str, Any]:
        """The answer to ``check_status``, as soon as the status is one of these."""
        found: dict[str, Any] = {}

        async def reached() -> bool:
            nonlocal found
            found = await self.status(bot_id)
            return found["exists"] and found["status"] in statuses

        await until(reached, lambda: f"the bot is {found}, not {' or '.join(statuses)}")
        return found

    async def event(self, kind: str) -> BotEvent:
        """The first event of a kind, as soon as it is heard."""

        async def heard() -> bool:
            return kind in self.kinds()

        await until(heard, lambda: f"no {kind}, but {self.kinds()}")
        return next(event for event in self.heard if event.type.value == kind)

    async def inspect(self, bot_id: str = "bot") -> dict[str, Any]:
        """The Engine's description of a bot's container."""
        container = (await self.status(bot_id))["container_id"]
        answer: dict[str, Any] = await self.engine.json("GET", f"containers/{container}/json")
        return answer

    async def docker(self, action: str, bot_id: str = "bot", **params: Any) -> None:
        """What somebody does to a bot's container by hand, such as ``kill``."""
        container = (await self.status(bot_id))["container_id"]
        await self.engine.json("POST", f"containers/{container}/{action}", params=params)


async def until(condition: Callable[[], Awaitable[bool]], complaint: Callable[[], str]) -> None:
    """Wait until a condition holds."""
    for _ in range(600):
        if await condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(complaint())


MakeSupervised = Callable[..., Awaitable[Supervised]]


@pytest.fixture
async def make_supervised(make_runner: MakeRunner) -> AsyncIterator[MakeSupervised]:
    """Make supervised runners with settings of the test's choice; their supervisors do not run yet."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Supervised:
            made = Supervised(await make_runner(**settings))
            stack.push_async_callback(made.end)
            return made

        yield make


@pytest.fixture
async def supervised(make_supervised: MakeSupervised) -> Supervised:
    """A runner with the default settings whose supervisor runs."""
    made = await make_supervised()
    made.begin()
    return made


@pytest.fixture
async def by_hand(make_supervised: MakeSupervised) -> Supervised:
    """A runner with the default settings whose supervisor looks only when it is told to."""
    return await make_supervised()
