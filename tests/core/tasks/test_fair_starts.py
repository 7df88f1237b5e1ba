"""One tenant who starts many bots does not make the next one wait for all of them."""

import asyncio

import pytest
from tests.conftest import MakeRunner

from bot_runner_worker.engine import containers
from bot_runner_worker.runtime.docker_engine import STARTS_AT_ONCE

pytestmark = pytest.mark.engine

MANY = 24


async def test_the_next_tenants_bot_runs_before_most_of_the_firsts(make_runner: MakeRunner) -> None:
    runner = await make_runner(max_bots_per_user=MANY)
    done: list[str] = []
    two_run = asyncio.Event()

    async def start(user_id: str, bot_id: str) -> None:
        outcome = await runner.start(user_id, bot_id)
        assert outcome.data.get("status") == "started", outcome.data
        done.append(user_id)
        if len(done) == 2:
            two_run.set()

    greedy = [asyncio.create_task(start("greedy", f"bot-{number}")) for number in range(MANY)]
    await two_run.wait()
    await start("modest", "bot")
    assert done.index("modest") < MANY // 2
    # Nor do questions wait for starts.
    assert (await runner.task("list_bots", user_id="modest")).data["count"] == 1
    assert len(done) < MANY
    await asyncio.gather(*greedy)


async def test_no_more_containers_are_made_at_once_than_the_engine_does(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await make_runner(max_bots_per_user=MANY)
    at_once, most = 0, 0
    real = containers.start

    async def counted(*args: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await real(*args)  # type: ignore[arg-type]
        at_once -= 1

    monkeypatch.setattr(containers, "start", counted)
    await asyncio.gather(*(runner.start(bot_id=f"bot-{number}") for number in range(MANY)))
    assert 1 < most <= STARTS_AT_ONCE
