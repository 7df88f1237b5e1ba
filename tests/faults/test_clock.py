"""The machine's clock is moved by an hour: deadlines stay where they are, nothing is swept that is needed.

The clock is that of the orchestrator and the worker (libfaketime). The Engine keeps its own, as one on
another machine would.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.faults.bots import project, simple
from tests.faults.running import WORKER_ENV, PatientClient
from tests.faults.state import look, settled, until
from tests.stack.conftest import sweep

from bot_runner_stack import ports
from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine

pytestmark = [
    pytest.mark.fault, pytest.mark.stack, pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip


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

    async def passes(self, count: int) -> None:
        """Wait until the supervisor has looked at everything so many times."""
        for _ in range(count):
            before = await self._last_pass()

            async def another(before: Any = before) -> bool:
                return await self._last_pass() != before

            await until(another, seconds=60)

    async def _last_pass(self) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.health}/health") as answer:
            return (await answer.json())["supervisor"]["last_pass"]

    async def status(self, bot_id: str) -> dict[str, Any]:
        """A bot's status, as the client is told."""
        return await self.client.result("status", bot_id=bot_id)


MakeMachine = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def make_machine(engine: Engine) -> AsyncIterator[MakeMachine]:
    """Make stacks with settings of the test's choice, each by a clock of its own."""
    async with AsyncExitStack() as exits:

        async def make(**settings: str) -> Machine:
            folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bot-runner-faults-")))
            worker_clock, orchestrator_clock = Clock(folder / "worker"), Clock(folder / "orchestrator")
            health = f"127.0.0.1:{ports.free_port('127.0.0.1')}"
            options = StackOptions(
                orchestrator_env=orchestrator_clock.environment,
                worker_env={**WORKER_ENV, **worker_clock.environment, "HEALTH_ADDRESS": health, **settings},
            )
            stack = EmbeddedStack(options)
            exits.push_async_callback(sweep, stack)
            await exits.enter_async_context(stack)
            client = PatientClient(stack.url, stack.client_token)
            return Machine(worker_clock, orchestrator_clock, engine, stack, client, health)

        yield make


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def machine(make_machine: MakeMachine) -> Machine:
    """A stack with the default deadline of 24 hours, and one bot."""
    made: Machine = await make_machine()
    started = await made.client.result("start", bot_id="bot", **simple())
    assert started.get("status") == "started", started
    return made


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
async def test_bots_run_on_and_a_start_that_is_under_way_is_finished(offset: str, machine: Machine) -> None:
    before = await machine.status("bot")
    bot_id = f"slow{offset}"
    job = await machine.client.post("start", bot_id=bot_id, **project(f"clock{offset}", build_seconds=12))

    async def builds() -> bool:
        others = (await look(machine.engine, machine.stack.namespace)).others
        return any("(build)" in other for other in others)

    await until(builds, complaint=machine.stack.log_tail)
    with machine.moved(offset):
        await machine.passes(1)
        ended = await machine.client.end_of(job)
        assert ended["result"].get("status") == "started", ended
        assert await machine.status("bot") == before
    await machine.passes(1)
    assert await machine.status("bot") == before
    assert before["status"] == "running"
    assert (await machine.status(bot_id))["status"] == "running"
    await settled(machine.engine, machine.stack.namespace)


async def test_a_worker_whose_clock_is_fast_leaves_anothers_work_alone(machine: Machine) -> None:
    """The fast one looks after all bots, for it was there first; the orchestrator does not listen to it."""
    bots = [f"both-{number}" for number in range(3)]
    with machine.moved("+1h", orchestrator=False):
        other = await machine.stack.start_worker({"HEALTH_ADDRESS": "off", "LD_PRELOAD": ""})
        jobs = [
            await machine.client.post("start", bot_id=bot, **project(bot, build_seconds=12)) for bot in bots
        ]
        ended = await asyncio.gather(*(machine.client.end_of(job, seconds=120) for job in jobs))
        # What the fast one had in hand already is given out again.
        assert {each["result"].get("status") for each in ended} <= {"started", "already_running"}, ended
        await machine.passes(1)
        assert set(bots) <= set((await settled(machine.engine, machine.stack.namespace)).running())
    await other.stop()


async def test_a_bot_whose_time_is_over_expires(make_machine: MakeMachine) -> None:
    machine: Machine = await make_machine(BOT_MAX_RUNTIME_HOURS="0.5")
    started = await machine.client.result("start", bot_id="bot", **simple())
    with machine.moved("-1h"):
        await machine.passes(1)
        assert (await machine.status("bot"))["status"] == "running"
    with machine.moved("+1h"):

        async def expired() -> bool:
            return bool((await machine.status("bot"))["status"] == "expired")

        await until(expired)
    report = await machine.status("bot")
    assert (report["status"], report["expires_at"]) == ("expired", started["expires_at"])
    assert (await machine.client.result("logs", bot_id="bot"))["logs"] == "ready\n"
