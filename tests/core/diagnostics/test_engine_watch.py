"""An Engine that goes away is noticed and told once, and so is its return."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine_gateway import EngineGateway, engine_gateway

from bot_runner_worker.diagnostics import watches
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.diagnostics.watches import EngineWatch
from bot_runner_worker.engine import Engine
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.testing.waiting import stays, until

pytestmark = pytest.mark.slow


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[EngineGateway]:
    async with engine_gateway(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def watch(gateway: EngineGateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineWatch]:
    """A watch that asks often, and has been asking for a while."""
    monkeypatch.setattr(watches, "ENGINE_INTERVAL", 0.1)
    monkeypatch.setattr(watches, "ENGINE_INTERVAL_WHILE_GONE", 0.1)
    async with Engine(gateway.address) as engine:
        watch = EngineWatch(engine)
        asking = asyncio.create_task(watch.run())
        yield watch
        asking.cancel()


async def test_an_engine_that_goes_and_comes_back_is_told_once_each(
    gateway: EngineGateway, watch: EngineWatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot_runner_worker.diagnostics")
    changes: list[bool] = []
    watch.on_change = lambda: changes.append(watch.up)
    await until(lambda: watch.up)
    assert watch.result.state is State.OK
    await gateway.cut()
    await until(lambda: not watch.up)
    assert watch.result.state is State.FAILED
    assert str(gateway.path) in watch.result.finding
    await stays(lambda: not watch.up, 0.5)  # it is asked again several times, and says nothing more
    await gateway.mend()
    await until(lambda: watch.up)
    assert changes == [True, False, True]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "no tasks are taken until it is back" in caplog.messages[0]


async def test_one_answer_that_fails_to_come_is_no_reason(
    watch: EngineWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: watch.up)
    changes: list[bool] = []
    watch.on_change = lambda: changes.append(watch.up)
    asked = 0
    answer = watch._engine.version

    async def lost_once() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Unavailable(Code.ENGINE_UNAVAILABLE, "It took too long.")
        return await answer()

    monkeypatch.setattr(watch._engine, "version", lost_once)
    await until(lambda: asked > 3)
    assert changes == []


async def test_a_suspicion_is_looked_into_at_once(
    gateway: EngineGateway, watch: EngineWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "ENGINE_INTERVAL", 3600)
    await until(lambda: watch.up)
    await stays(lambda: watch.up, 0.3)  # it sleeps its hour by now
    await gateway.cut()
    watch.suspect()
    await until(lambda: not watch.up)


async def test_an_engine_that_hangs_is_gone(
    gateway: EngineGateway, watch: EngineWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "ENGINE_TIMEOUT", 0.5)
    await until(lambda: watch.up)

    async def hang() -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {}

    monkeypatch.setattr(watch._engine, "version", hang)
    await until(lambda: not watch.up)
    assert watch.result.state is State.FAILED
    assert "no answer within" in watch.result.finding


async def test_before_it_was_asked_it_is_not_there(gateway: EngineGateway) -> None:
    async with Engine(gateway.address) as engine:
        watch = EngineWatch(engine)
        assert not watch.up
        assert watch.result.finding == "not asked yet"
