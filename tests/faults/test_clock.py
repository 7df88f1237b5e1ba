"""The machine's clock is moved by an hour: deadlines stay where they are, nothing is swept that is needed.

The clock is that of the orchestrator and the worker (libfaketime). The Engine keeps its own, as one on
another machine would.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.faults.bots import HELD, project
from tests.faults.running import WORKER_ENV, PatientClient, builds_end, running_stack, under_way
from tests.faults.state import builds, settled

from bot_runner_stack import ports
from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.faults


class Clock:
    """A clock that processes can be given, and that can be moved while they run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.move("+0")

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process go by it."""
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            # An operating system's monotonic clock does not move with the other.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def move(self, offset: str) -> None:
        """Set it so far from the true time: ``+1h``."""
        self._file.write_text(offset + "\n")


@dataclass
class Machine:
    """A stack by clocks that move."""

    worker_clock: Clock
    orchestrator_clock: Clock
    engine: Engine
    stack: EmbeddedStack
    client: PatientClient
    health: str

    @contextmanager
    def moved(self, offset: str, *, orchestrator: bool = True) -> Iterator[None]:
        """The clock moved for a while."""
        clocks = [self.worker_clock, *([self.orchestrator_clock] if orchestrator else [])]
        for clock in clocks:
            clock.move(offset)
        try:
            yield
        finally:
            for clock in clocks:
                clock.move("+0")

    async def passes(self) -> None:
        """Wait until the supervisor has looked at everything once more."""
        before = await self._last_pass()

        async def another() -> bool:
            return bool(await self._last_pass() != before)

        await until(another, 90, "another pass")

    async def _last_pass(self) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.health}/health") as answer:
            return (await answer.json())["supervisor"]["last_pass"]

    async def status(self, bot_id: str) -> dict[str, Any]:
        """A bot's status, as the client is told."""
        return await self.client.result("status", bot_id=bot_id)

    async def builds(self) -> bool:
        """Whether a build is going on."""
        return await builds(self.engine, self.stack.namespace)


@asynccontextmanager
async def running_machine(engine: Engine, *, ttl: int = 40, **settings: str) -> AsyncIterator[Machine]:
    """A stack with a clock of its own, and settings of the test's choice."""
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bot-runner-faults-")))
        worker_clock, orchestrator_clock = Clock(folder / "worker"), Clock(folder / "orchestrator")
        health = f"127.0.0.1:{ports.free_port('127.0.0.1')}"
        stack, client = await exits.enter_async_context(
            running_stack(
                orchestrator_env={**orchestrator_clock.environment, "WORKER_TTL_SECONDS": str(ttl)},
                worker_env={**WORKER_ENV, **worker_clock.environment, "HEALTH_ADDRESS": health, **settings},
            )
        )
        yield Machine(worker_clock, orchestrator_clock, engine, stack, client, health)


async def _moved(offset: str, engine: Engine) -> None:
    """Bots run on, and a start that is under way is finished."""
    async with running_machine(engine) as machine:
        await machine.client.starts("bot")
        before = await machine.status("bot")
        job = await machine.client.post("start", bot_id="slow", **project(f"clock{offset}", HELD))
        await until(machine.builds, 60, machine.stack.log_tail)
        with machine.moved(offset):
            await machine.passes()
            async with builds_end(machine.stack):
                ended = await machine.client.end_of(job)
            assert ended["result"].get("status") == "started", (ended, machine.stack.log_tail(60))
            assert await machine.status("bot") == before
        await machine.passes()
        assert await machine.status("bot") == before
        assert before["status"] == "running"
        assert (await machine.status("slow"))["status"] == "running"
        await settled(engine, machine.stack.namespace)


async def _standby(engine: Engine) -> None:
    """A standby with another clock neither takes over too early nor sweeps what is needed."""
    async with running_machine(engine) as machine:
        bots = [f"both-{number}" for number in range(3)]
        with machine.moved("+1h"):
            standby = await machine.stack.start_worker({"HEALTH_ADDRESS": "off", "LD_PRELOAD": ""})
            jobs = [await machine.client.post("start", bot_id=bot, **project(bot, HELD)) for bot in bots]
            await until(machine.builds, 60, machine.stack.log_tail)
            await machine.passes()
            async with builds_end(machine.stack):
                ended = await asyncio.gather(*map(machine.client.end_of, jobs))
            assert {each["result"].get("status") for each in ended} == {"started"}, ended
            await machine.passes()
            assert "this worker is active" not in standby.log.read_text()
        machine.stack.workers[0].kill()
        await until(lambda: "this worker is active" in standby.log.read_text(), 30, standby.log_tail)
        for bot in bots:
            assert (await machine.status(bot))["status"] == "running"
        assert (await settled(engine, machine.stack.namespace)).running() == bots


async def _expired(engine: Engine) -> None:
    """A bot whose time is over expires, and one whose time is not does not."""
    async with running_machine(engine, BOT_MAX_RUNTIME_HOURS="0.5") as machine:
        started = await machine.client.starts("bot")
        with machine.moved("-1h"):
            await machine.passes()
            assert (await machine.status("bot"))["status"] == "running"
        with machine.moved("+1h"):

            async def expired() -> bool:
                return bool((await machine.status("bot")).get("status") == "expired")

            await until(expired, 60)
        report = await machine.status("bot")
        assert (report["status"], report["expires_at"]) == ("expired", started["expires_at"])
        assert (await machine.client.result("logs", bot_id="bot"))["logs"] == "ready\n"


MOVES: dict[str, Callable[[Engine], Coroutine[Any, Any, None]]] = {
    "an hour ahead": partial(_moved, "+1h"),
    "an hour back": partial(_moved, "-1h"),
    "the clock of one worker": _standby,
    "past a deadline": _expired,
}


@pytest.fixture(scope="module")
async def moves(engine: Engine) -> AsyncIterator[Mapping[str, Awaitable[None]]]:
    """All of it at the same time: it mostly waits for the supervisor."""
    async with under_way({name: move(engine) for name, move in MOVES.items()}) as tasks:
        yield tasks


@pytest.mark.parametrize("name", MOVES)
async def test_the_clock_is_moved(name: str, moves: Mapping[str, Awaitable[None]]) -> None:
    await moves[name]
