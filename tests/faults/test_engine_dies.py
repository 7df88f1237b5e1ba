"""The Engine dies, hangs and comes back, with or without the worker: all is then as it was before."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import IDLE_BOT
from tests.faults.bots import MORTAL_BOT, POLITE_BOT, simple
from tests.faults.running import PATIENCE, WORKER_ENV, History, PatientClient, readiness, running_stack
from tests.faults.second_engine import SecondEngine
from tests.faults.state import look
from tests.stack.conftest import TERMINAL

from bot_runner_stack import ports
from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_stack.processes import ManagedProcess
from bot_runner_worker.engine import Engine
from bot_runner_worker.model.errors import Unavailable
from bot_runner_worker.model.identity import BOT_ID
from bot_runner_worker.testing.waiting import stays, until

BOTS = 20
FEW_BOTS = 4
"""What `make test` does with."""


@dataclass
class Machine:
    """An Engine with its runner, which may die together or apart."""

    docker: SecondEngine
    engine: Engine
    stack: EmbeddedStack
    client: PatientClient
    history: History
    health: str
    bots: list[str]
    generation: int = 0

    @property
    def worker(self) -> ManagedProcess:
        """The worker's process."""
        return self.stack.workers[0]

    async def states(self) -> dict[str, str]:
        """Each bot's container's state by bot; nothing while the Engine does not answer."""
        try:
            state = await look(self.engine, self.stack.namespace)
        except Unavailable:
            return {}
        assert len({bot.labels[BOT_ID] for bot in state.bots}) == len(state.bots), "a bot is there twice"
        return {bot.labels[BOT_ID]: bot.state for bot in state.bots}

    async def all_run(self) -> bool:
        """Whether all bots that should run do."""
        states = await self.states()
        return {states.get(bot) for bot in self.bots} == {"running"}

    async def ids(self) -> dict[str, str]:
        """Each bot's container by bot."""
        return {b.labels[BOT_ID]: b.id for b in (await look(self.engine, self.stack.namespace)).bots}

    async def a_death_is_told(self) -> None:
        """Let a bot end by itself, and wait until the orchestrator knows."""
        self.generation += 1
        bot_id = f"mortal-{self.generation}"
        started = await self.client.starts(bot_id, **simple(MORTAL_BOT))
        await asyncio.to_thread(self.docker.docker, "exec", started["container_id"], "touch", "/tmp/die")
        await self.history.has(bot_id, "bot_exited")

    async def is_as_before(self, ids: dict[str, str]) -> None:
        """All bots run again, in the same containers; the others are still dead."""
        await until(self.all_run, 90, self.docker.log_tail)
        assert await self.ids() == ids
        await self.a_death_is_told()
        states = await self.states()
        assert (states["stopped"], states["exited"]) == ("exited", "exited")
        shown = {each["bot_id"]: each["status"] for each in (await self.client.result("list"))["bots"]}
        assert (shown["stopped"], shown["exited"]) == ("stopped", "exited")
        assert {shown[bot] for bot in self.bots} == {"running"}


@pytest.fixture(scope="module")
def docker() -> Iterator[SecondEngine]:
    """The second Engine."""
    made = SecondEngine()
    try:
        made.set_up()
        yield made
    finally:
        made.remove()


@asynccontextmanager
async def machine_with(docker: SecondEngine, count: int) -> AsyncIterator[Machine]:
    """The runner on it, with bots that run, one that was stopped and one that has exited.

    Every other one ends in order on SIGTERM. None is left: an Engine that starts brings back all it has.
    """
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bot-runner-faults-")))
        history = History(folder / "history.sqlite")
        health = f"127.0.0.1:{ports.free_port('127.0.0.1')}"
        stack, client = await exits.enter_async_context(
            running_stack(
                worker_env={**WORKER_ENV, "DOCKER_HOST": docker.address, "HEALTH_ADDRESS": health},
                orchestrator_env={**PATIENCE, **history.environment},
            )
        )
        engine = await exits.enter_async_context(Engine(docker.address))
        bots = [f"bot-{number}" for number in range(count)]
        codes = {bot: (IDLE_BOT, POLITE_BOT)[number % 2] for number, bot in enumerate(bots)}
        codes |= {"stopped": IDLE_BOT, "exited": "print('done')"}
        await asyncio.gather(*(client.starts(bot, **simple(code)) for bot, code in codes.items()))
        assert (await client.result("stop", bot_id="stopped"))["status"] == "stopped"
        await history.has("exited", "bot_exited")
        yield Machine(docker, engine, stack, client, history, health, bots)


@pytest.fixture(scope="module")
async def machine(docker: SecondEngine) -> AsyncIterator[Machine]:
    """With as many bots as a small operator has."""
    async with machine_with(docker, BOTS) as made:
        yield made


@pytest.mark.engine
async def test_a_few_bots_run_again(docker: SecondEngine) -> None:
    async with machine_with(docker, FEW_BOTS) as machine:
        await goes_down_and_comes_back(machine, signal.SIGKILL, "stays")


@pytest.mark.faults
@pytest.mark.parametrize("worker", ["stays", "dies too"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
async def test_bots_run_again(how: signal.Signals, worker: str, machine: Machine) -> None:
    await goes_down_and_comes_back(machine, how, worker)


async def goes_down_and_comes_back(machine: Machine, how: signal.Signals, worker: str) -> None:
    """``dies too``: the whole machine goes down, in order or by a loss of power."""
    ids = await machine.ids()
    if worker == "dies too":
        machine.worker.kill() if how is signal.SIGKILL else await machine.worker.stop()
    await asyncio.to_thread(machine.docker.signal, how)
    await asyncio.to_thread(machine.docker.start)
    if worker == "dies too":
        machine.worker.start()
    await machine.is_as_before(ids)


@pytest.mark.faults
async def test_an_engine_that_hangs(machine: Machine) -> None:
    ids = await machine.ids()
    machine.docker.signal(signal.SIGSTOP)
    try:
        await until(lambda: _is(machine, 503), 60, machine.worker.log_tail)
        job = await machine.client.post("status", bot_id=machine.bots[0])
        await stays(lambda: _waits(machine, job), 5)
    finally:
        machine.docker.signal(signal.SIGCONT)
    await until(lambda: _is(machine, 200), 60, machine.worker.log_tail)
    assert (await machine.client.end_of(job))["result"]["status"] == "running"
    await machine.is_as_before(ids | await machine.ids())


@pytest.mark.faults
async def test_an_engine_that_is_away(machine: Machine) -> None:
    """The worker says so and takes no tasks; those that come meanwhile are served when it is back."""
    ids = await machine.ids()
    await asyncio.to_thread(machine.docker.signal, signal.SIGKILL)
    await until(lambda: _is(machine, 503), 60, machine.worker.log_tail)
    job = await machine.client.post("start", bot_id="late", **simple())
    await stays(lambda: _waits(machine, job), 5)
    await asyncio.to_thread(machine.docker.start)
    await until(lambda: _is(machine, 200), 60, machine.worker.log_tail)
    late = (await machine.client.end_of(job))["result"]
    assert late.get("status") == "started", late
    ids |= {"late": late["container_id"]}
    await machine.is_as_before(ids)


async def _is(machine: Machine, status: int) -> bool:
    return await readiness(machine.health) == status


async def _waits(machine: Machine, job: str) -> bool:
    return (await machine.client.job(job)).get("status") not in TERMINAL
