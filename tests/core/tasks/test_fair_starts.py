"""One tenant who starts many bots does not make the next one wait for all of them."""

import asyncio

import pytest
from tests.conftest import MakeRunner

from bot_runner_worker.bots import docker_runtime as docker_engine
from bot_runner_worker.bots.docker_runtime import STARTS_OF_ONE_TENANT
from bot_runner_worker.engine import containers

pytestmark = pytest.mark.slow


async def test_the_next_tenants_bot_runs_before_most_of_the_firsts(make_runner: MakeRunner) -> None:
    many = 5 * STARTS_OF_ONE_TENANT
    runner = await make_runner(max_bots_per_user=many)
    done: list[str] = []
    two_run = asyncio.Event()

    async def start(user_id: str, bot_id: str) -> None:
        outcome = await runner.start(user_id, bot_id)
        assert outcome.data.get("status") == "started", outcome.data
        done.append(user_id)
        if len(done) == 2:
            two_run.set()

    greedy = [asyncio.create_task(start("greedy", f"bot-{number}")) for number in range(many)]
    await two_run.wait()
    await start("modest", "bot")
    assert done.index("modest") < 3 * STARTS_OF_ONE_TENANT
    # Nor do questions wait for starts.
    assert (await runner.task("list_bots", user_id="modest")).data["count"] == 1
    assert len(done) < many
    await asyncio.gather(*greedy)


async def test_no_more_containers_are_made_at_once_than_the_engine_does(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine, "STARTS_AT_ONCE", 3)
    runner = await make_runner()
    at_once, most = 0, 0
    real = containers.start

    async def counted(*args: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await real(*args)  # type: ignore[arg-type]
        at_once -= 1

    monkeypatch.setattr(containers, "start", counted)
    await asyncio.gather(*(runner.start(f"user-{number}") for number in range(9)))
    assert 1 < most <= 3
