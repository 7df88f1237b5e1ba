"""Tasks that meet, with a worker and its standby: one effect, a clear answer to each, nothing left over."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.conftest import IDLE_BOT
from tests.faults.bots import HELD, project, simple
from tests.faults.running import PatientClient, builds_end, running_stack
from tests.faults.state import builds, settled

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine, volumes
from bot_runner_worker.model.identity import BOT_ID, LEASE_ROLE, NAMESPACE, ROLE, WORKER_ID
from bot_runner_worker.testing.waiting import stays, until

pytestmark = pytest.mark.faults

AT_ONCE = 8


@dataclass
class Pair:
    """The active worker and its standby."""

    engine: Engine
    stack: EmbeddedStack
    client: PatientClient

    async def all(self, requests: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        """The results of requests that are sent at once."""
        return await asyncio.gather(*(self.client.result(action, **params) for action, params in requests))

    async def containers(self, bot_id: str) -> list[tuple[str, str]]:
        """Ids and states of a bot's containers, once nothing is left over."""
        bots = (await settled(self.engine, self.stack.namespace)).bots
        return [(bot.id, bot.state) for bot in bots if bot.labels[BOT_ID] == bot_id]

    async def builds(self) -> bool:
        """Whether a build is going on."""
        return await builds(self.engine, self.stack.namespace)


def answer(result: dict[str, Any]) -> str:
    """A result in one word."""
    return str(result.get("status") or result["error"]["code"])


@pytest.fixture(scope="module")
async def pair(engine: Engine) -> AsyncIterator[Pair]:
    """Orchestrator and two workers."""
    async with running_stack(workers=2) as (stack, client):
        yield Pair(engine, stack, client)


@pytest.mark.parametrize("mode", ["simple", "custom"])
async def test_the_same_start_many_times_at_once(mode: str, pair: Pair) -> None:
    params = simple() if mode == "simple" else project("same")
    results = await pair.all([("start", {"bot_id": f"same-{mode}", **params})] * AT_ONCE)
    assert Counter(map(answer, results)) == {"started": 1, "already_running": AT_ONCE - 1}
    (found,) = {each["container_id"] for each in results}
    assert await pair.containers(f"same-{mode}") == [(found, "running")]


async def test_different_starts_of_one_bot_at_once(pair: Pair) -> None:
    requests = [("start", {"bot_id": "unlike", **simple(IDLE_BOT + f"# {n}\n")}) for n in range(AT_ONCE)]
    results = await pair.all(requests)
    answers = Counter(map(answer, results))
    # Of those that wait for the first, the newest supersedes the others.
    assert answers["started"] == 1
    assert set(answers) <= {"started", "SUPERSEDED", "BOT_ALREADY_RUNNING"}
    (found,) = [each["container_id"] for each in results if answer(each) == "started"]
    assert await pair.containers("unlike") == [(found, "running")]


async def test_replacements_of_one_bot_at_once(pair: Pair) -> None:
    codes = [IDLE_BOT + f"# {n}\n" for n in range(AT_ONCE)]
    results = await pair.all([("start", {"bot_id": "new", **simple(code, replace=True)}) for code in codes])
    assert {"started"} <= set(map(answer, results)) <= {"started", "SUPERSEDED"}
    ((found, state),) = await pair.containers("new")
    assert state == "running"
    assert found in [each.get("container_id") for each in results]


async def test_starts_against_stops(pair: Pair) -> None:
    for _ in range(4):
        requests: list[tuple[str, dict[str, Any]]] = [("start", simple()), ("stop", {})] * (AT_ONCE // 2)
        results = await pair.all([(action, {"bot_id": "torn", **params}) for action, params in requests])
        assert set(map(answer, results)) <= {
            *("started", "already_running", "stopped", "not_found", "START_CANCELLED"),
        }, results
        found = await pair.containers("torn")
        assert len(found) <= 1
        report = await pair.client.result("status", bot_id="torn")
        assert report["exists"] is bool(found)
        if found:
            assert {"running": "running", "exited": "stopped"}[found[0][1]] == report["status"]


async def test_a_stop_ends_a_build(pair: Pair) -> None:
    job = await pair.client.post("start", bot_id="long", **project("long", HELD))
    await until(pair.builds, 60, pair.stack.log_tail)
    assert answer(await pair.client.result("stop", bot_id="long")) == "stopped"
    assert answer((await pair.client.end_of(job))["result"]) == "START_CANCELLED"
    assert await pair.containers("long") == []
    assert (await pair.client.result("status", bot_id="long"))["exists"] is False


async def test_the_active_worker_dies_with_the_same_start_twice(pair: Pair) -> None:
    """It stays dead; the standby finishes both."""
    params = {"bot_id": "orphan", **project("orphan", HELD)}
    first = await pair.client.post("start", **params)
    await until(pair.builds, 60, pair.stack.log_tail)
    second = await pair.client.post("start", **params)
    await stays(pair.builds, 1)
    victim = await _active(pair)
    victim.kill()
    try:
        async with builds_end(pair.stack):
            results = [(await pair.client.end_of(job))["result"] for job in (first, second)]
        assert sorted(map(answer, results)) == ["already_running", "started"]
        assert [state for _, state in await pair.containers("orphan")] == ["running"]
    finally:
        victim.start()


async def _active(pair: Pair) -> Any:
    """The worker that holds the lease."""
    mine = {NAMESPACE: pair.stack.namespace, ROLE: LEASE_ROLE}
    (holder,) = {each[WORKER_ID] for each in (await volumes.list_by_labels(pair.engine, mine)).values()}
    return next(each for each in pair.stack.workers if each.environment["WORKER_ID"] == holder)
