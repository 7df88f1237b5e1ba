"""A runner whose supervisor runs, and whose events are kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core import examples

from bot_runner_worker.bots import limits_watch
from bot_runner_worker.engine import EngineError
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.testing.waiting import until


class Supervised(RunnerUnderTest):
    """A runner under test with what its listeners hear.

    Args:
        under_test: The runner.
    """

    def __init__(self, under_test: RunnerUnderTest) -> None:
        super().__init__(under_test.runner)
        self.supervisor = self.runner.supervisor
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
        return await examples.status(self, bot_id=bot_id)

    async def inspect(self, bot_id: str = "bot") -> dict[str, Any]:
        """The Engine's description of a bot's container."""
        return await examples.inspect(self, bot_id=bot_id)

    async def event(self, kind: str) -> BotEvent:
        """The first event of a kind, as soon as it is heard."""
        await until(lambda: kind in self.kinds(), 90, lambda: f"{kind} is heard, and not {self.kinds()}")
        return next(event for event in self.heard if event.type.value == kind)

    async def state(self, *, after: str = "", bot_id: str = "bot") -> dict[str, Any]:
        """The state of a bot's container, as soon as it runs, and did not begin at a certain time."""
        found: dict[str, Any] = {}

        async def running() -> bool:
            nonlocal found
            found = (await self.inspect(bot_id))["State"]
            return found["Status"] == "running" and found["StartedAt"] != after

        await until(running, 60, lambda: f"the bot runs, and is not {found}")
        return found

    async def docker(self, action: str, bot_id: str = "bot", **params: Any) -> None:
        """What somebody does to a bot's container by hand, such as ``kill``."""
        container = (await self.status(bot_id))["container_id"]

        async def done() -> bool:
            try:
                await self.engine.json("POST", f"containers/{container}/{action}", params=params)
            except EngineError as error:
                # runc gives up on a process that the busy machine does not let come to a halt.
                if "unable to freeze" not in str(error):
                    raise
                return False
            return True

        await until(done, 30, f"the Engine can {action} {bot_id}")


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


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watches look as often as they can."""
    monkeypatch.setattr(limits_watch, "TICK", 0.1)
    for interval in ("DISK_INTERVAL", "LOG_INTERVAL", "SUSPECT_INTERVAL"):
        monkeypatch.setattr(limits_watch, interval, 0.2)
    monkeypatch.setattr(limits_watch, "WINDOW", 0.5)
    for share in ("DISK_SHARE", "LOG_SHARE"):
        monkeypatch.setattr(limits_watch, share, 1.0)
