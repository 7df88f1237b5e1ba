"""The orchestrator or Redis is gone, or hangs: bots run on, and what was going on ends well afterwards.

All outages go on at the same time, each in a stack of its own: they mostly wait.
"""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faults.bots import HELD, project, simple
from tests.faults.running import PATIENCE, builds_end, running_stack, under_way
from tests.faults.state import builds, look, settled
from tests.redis_server import redis_server

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import stays, until

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Outage:
    """What happens.

    Args:
        server: To whom.
        how: The signal: SIGSTOP lets it hang.
        seconds: For how long it is gone.
    """

    server: str
    how: signal.Signals
    seconds: float


TTL_SECONDS = 12
"""After so long without a heartbeat a worker is gone, and its tasks are given out again."""

OUTAGES = {
    f"{server} {words}": Outage(server, how, seconds)
    for server in ("orchestrator", "redis")
    for words, how, seconds in (
        ("killed", signal.SIGKILL, 1.5 * TTL_SECONDS),
        ("ended", signal.SIGTERM, TTL_SECONDS / 2),
        ("hangs", signal.SIGSTOP, 1.5 * TTL_SECONDS),
    )
}


@pytest.fixture(scope="module")
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
        environment = {**PATIENCE, **redis.environment_of_clients, "WORKER_TTL_SECONDS": str(TTL_SECONDS)}
        stack, client = await exits.enter_async_context(
            running_stack(storage="redis", orchestrator_env=environment)
        )
        await client.starts("quiet")
        before = await _life(engine, stack)
        name = f"{outage.server}-{outage.how.name}"
        job = await client.post("start", bot_id="slow", **project(name, HELD))
        await until(lambda: builds(engine, stack.namespace), 60, stack.log_tail)

        async def lives() -> bool:
            return bool(await _life(engine, stack) == before)

        process = stack.orchestrator if outage.server == "orchestrator" else redis
        os.kill(process.pid, outage.how)
        async with builds_end(stack):
            await stays(lives, outage.seconds, "the quiet bot's life")
            if outage.how is signal.SIGSTOP:
                os.kill(process.pid, signal.SIGCONT)
            elif outage.server == "orchestrator":
                await stack.start_orchestrator()
            else:
                redis.start()
            ended = await client.end_of(job)
        # Who is gone for longer than a worker's TTL gives the job out again.
        assert ended["result"].get("status") in ("started", "already_running"), f"{ended}\n{stack.log_tail()}"
        later = await client.end_of(await client.post("start", bot_id="later", **simple()))
        assert later["result"].get("status") == "started", f"{later}\n{stack.log_tail()}"
        assert await lives()
        assert (await settled(engine, stack.namespace)).running() == ["later", "quiet", "slow"]


async def _life(engine: Engine, stack: EmbeddedStack) -> Any:
    """What changes if the quiet bot dies."""
    for bot in (await look(engine, stack.namespace)).bots:
        if "-quiet-" in bot.name:
            found = await engine.json("GET", f"containers/{bot.id}/json")
            assert found["State"]["Running"]
            return found["Id"], found["State"]["StartedAt"], found["State"]["Pid"]
    raise AssertionError("the quiet bot is gone")
