"""SIGTERM of the worker in the middle of a long start: it is finished or handed back, and bots run on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests.faults.bots import project, simple
from tests.faults.running import WORKER_ENV, PatientClient
from tests.faults.state import look, settled, until
from tests.stack.conftest import sweep

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine

pytestmark = [
    pytest.mark.fault, pytest.mark.stack, pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stack() -> AsyncIterator[EmbeddedStack]:
    """An orchestrator, still without a worker."""
    async with AsyncExitStack() as exits:
        made = EmbeddedStack(StackOptions(workers=0, worker_env=WORKER_ENV, stop_seconds=60))
        exits.push_async_callback(sweep, made)
        await exits.enter_async_context(made)
        yield made


@pytest.mark.parametrize(("drain", "answer"), [(60, "finished"), (1, "handed back")])
async def test_a_start_that_is_under_way_comes_to_its_end(
    drain: int, answer: str, stack: EmbeddedStack, engine: Engine
) -> None:
    client = PatientClient(stack.url, stack.client_token)
    worker = await stack.start_worker({"DRAIN_SECONDS": str(drain)})
    quiet = await client.result("start", bot_id="quiet", **simple())
    before = await engine.json("GET", f"containers/{quiet['container_id']}/json")
    bot_id = answer.replace(" ", "-")
    job = await client.post("start", bot_id=bot_id, **project(bot_id, build_seconds=8))

    async def builds() -> bool:
        return any("(build)" in each for each in (await look(engine, stack.namespace)).others)

    await until(builds)
    await worker.stop(grace_seconds=60)
    assert worker.exit_code == 0, worker.log_tail()
    while_down = (await settled(engine, stack.namespace)).running()
    assert (bot_id in while_down) is (answer == "finished")
    assert "quiet" in while_down
    await asyncio.to_thread(worker.start)
    ended = await client.end_of(job, seconds=120)
    assert ended["result"].get("status") == "started", ended
    assert bot_id in (await settled(engine, stack.namespace)).running()
    after = await engine.json("GET", f"containers/{quiet['container_id']}/json")
    assert after["State"] == before["State"]
    await worker.stop(grace_seconds=60)
