"""The orchestrator or Redis is gone, or hangs: bots run on, and what was going on ends well afterwards.

All outages go on at the same time, each in a stack of its own: they take a minute, and nearly nothing else.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from tests.faults.bots import project, simple
from tests.faults.running import WORKER_ENV, PatientClient, under_way
from tests.faults.state import look, settled, until
from tests.redis_server import redis_server
from tests.stack.conftest import sweep

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine

pytestmark = [
    pytest.mark.fault, pytest.mark.stack, pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip


@dataclass(frozen=True)
class Outage:
    """What happens.

    Args:
        server: To whom.
        how: The signal: SIGSTOP lets it hang.
        seconds: For how long it is gone.
    """

    server: Literal["orchestrator", "redis"]
    how: signal.Signals
    seconds: float


OUTAGES = {
    "orchestrator killed": Outage("orchestrator", signal.SIGKILL, 60),
    "orchestrator ended": Outage("orchestrator", signal.SIGTERM, 20),
    "orchestrator hangs": Outage("orchestrator", signal.SIGSTOP, 30),
    "Redis killed": Outage("redis", signal.SIGKILL, 60),
    "Redis ended": Outage("redis", signal.SIGTERM, 20),
    "Redis hangs": Outage("redis", signal.SIGSTOP, 30),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def outages(engine: Engine) -> AsyncIterator[Mapping[str, Awaitable[None]]]:
    """All outages, under way."""
    async with under_way({name: _suffer(outage, engine) for name, outage in OUTAGES.items()}) as tasks:
        yield tasks


@pytest.mark.parametrize("name", OUTAGES)
async def test_bots_run_and_results_arrive(name: str, outages: Mapping[str, Awaitable[None]]) -> None:
    await outages[name]


async def _suffer(outage: Outage, engine: Engine) -> None:
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bot-runner-faults-")))
        redis = await exits.enter_async_context(redis_server(folder))
        options = StackOptions(
            storage="redis", worker_env=WORKER_ENV, orchestrator_env=redis.environment_of_clients
        )
        stack = EmbeddedStack(options)
        exits.push_async_callback(sweep, stack)
        await exits.enter_async_context(stack)
        client = PatientClient(stack.url, stack.client_token)

        await client.result("start", bot_id="quiet", **simple())
        before = await _alive(engine, stack)
        job = await client.post("start", bot_id="slow", **project("slow", build_seconds=outage.seconds / 3))
        await until(lambda: _building(engine, stack), complaint=stack.log_tail)

        process = stack.orchestrator if outage.server == "orchestrator" else redis
        os.kill(process.pid, outage.how)
        for _ in range(int(outage.seconds)):
            await asyncio.sleep(1)
            assert await _alive(engine, stack) == before
        if outage.how is signal.SIGSTOP:
            os.kill(process.pid, signal.SIGCONT)
        elif outage.server == "orchestrator":
            await stack.start_orchestrator()
        else:
            redis.start()

        ended = await client.end_of(job, seconds=90, log=lambda: stack.log_tail(40))
        assert ended["result"].get("status") == "started", f"{ended}\n{stack.log_tail()}"
        later = await client.end_of(await client.post("start", bot_id="later", **simple()), seconds=90)
        assert later["result"].get("status") == "started", f"{later}\n{stack.log_tail()}"
        assert await _alive(engine, stack) == before
        assert (await settled(engine, stack.namespace)).running() == ["later", "quiet", "slow"]


async def _alive(engine: Engine, stack: EmbeddedStack) -> Any:
    """What changes if the quiet bot dies."""
    for bot in (await look(engine, stack.namespace)).bots:
        if "-quiet-" in bot.name:
            found = await engine.json("GET", f"containers/{bot.id}/json")
            assert found["State"]["Running"]
            return found["Id"], found["State"]["StartedAt"], found["State"]["Pid"]
    raise AssertionError("the quiet bot is gone")


async def _building(engine: Engine, stack: EmbeddedStack) -> bool:
    return any("(build)" in other for other in (await look(engine, stack.namespace)).others)
