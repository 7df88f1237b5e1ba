"""SIGTERM of the worker in the middle of a long start: it is finished or handed back, and bots run on."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
from tests.faults.bots import HELD, project, simple
from tests.faults.running import PatientClient, builds_end, running_stack
from tests.faults.state import builds, settled

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.faults

Stack = tuple[EmbeddedStack, PatientClient]


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    """An orchestrator, still without a worker."""
    async with running_stack(workers=0, stop_seconds=60) as made:
        yield made


@pytest.mark.parametrize(("drain", "answer"), [(60, "finished"), (1, "handed back")])
async def test_a_start_that_is_under_way_comes_to_its_end(
    drain: int, answer: str, stack: Stack, engine: Engine
) -> None:
    running, client = stack
    worker = await running.start_worker({"DRAIN_SECONDS": str(drain)})
    quiet = await client.result("start", bot_id="quiet", **simple())
    before = await engine.json("GET", f"containers/{quiet['container_id']}/json")
    bot_id = answer.replace(" ", "-")
    job = await client.post("start", bot_id=bot_id, **project(bot_id, HELD))
    await until(lambda: builds(engine, running.namespace), 60, worker.log_tail)
    os.kill(worker.pid, signal.SIGTERM)
    await until(lambda: "told to stop" in worker.log.read_text(), 60, worker.log_tail)
    if answer == "finished":
        async with builds_end(running):
            await worker.wait()
    await worker.wait()
    assert worker.exit_code == 0, worker.log_tail()
    while_down = (await settled(engine, running.namespace)).running()
    assert (bot_id in while_down) is (answer == "finished")
    assert "quiet" in while_down
    worker.start()
    async with builds_end(running):
        ended = await client.end_of(job)
    assert ended["result"].get("status") == "started", ended
    assert bot_id in (await settled(engine, running.namespace)).running()
    after = await engine.json("GET", f"containers/{quiet['container_id']}/json")
    assert after["State"] == before["State"]
    await worker.stop(grace_seconds=60)
