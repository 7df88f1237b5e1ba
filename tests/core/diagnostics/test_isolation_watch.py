"""How well bots are kept apart is probed in the background, and told when it changes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot_runner_worker.diagnostics import watches
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.diagnostics.watches import IsolationWatch
from bot_runner_worker.engine import Engine
from bot_runner_worker.isolation import guard
from bot_runner_worker.isolation.guard import IsolationGuard
from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.waiting import until

OPEN = Isolation(Level.DEGRADED, ("a bot reaches its gateway 10.231.0.1 on port 22",))
CLOSED = Isolation(Level.FULL)


class Probe:
    """Finds what the test wants."""

    def __init__(self, found: Isolation | Exception) -> None:
        self.found = found
        self.times = 0
        self.short: list[bool] = []

    async def __call__(self, *_: object, again: bool, **__: object) -> Isolation:
        self.times += 1
        self.short.append(again)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Takes the place of the probe, where the rules themselves cannot be read."""
    probe = Probe(CLOSED)
    monkeypatch.setattr(guard, "probe_isolation", probe)
    monkeypatch.setattr(guard, "can_keep", lambda settings: False)
    return probe


def guard_of(**settings: str) -> IsolationGuard:
    return IsolationGuard(Engine("unix:///nowhere"), Settings.load(worker_token="x", **settings))


@asynccontextmanager
async def running(watch: IsolationWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()


async def test_the_log_says_what_is_open_and_how_to_close_it_once(
    probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    probe.found = OPEN
    watch = IsolationWatch(guard_of(), lambda: True)
    async with running(watch):
        await until(lambda: probe.times == 1)
        watch.again()
        await until(lambda: probe.times == 2)
        probe.found = CLOSED
        watch.again()
        await until(lambda: watch.found.level is Level.FULL)
    first, second = caplog.messages
    assert first.startswith("isolation: degraded (a bot reaches its gateway 10.231.0.1 on port 22).")
    assert "bot-runner-worker firewall apply" in first
    assert second.startswith("isolation: full")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_only_after_one_that_found_all_closed_comes_a_short_one(probe: Probe) -> None:
    looking = guard_of()
    for found in (OPEN, CLOSED, CLOSED, OPEN, CLOSED):
        probe.found = found
        await looking.look()
    assert probe.short == [False, False, True, True, False]


async def test_a_probe_that_cannot_run_leaves_it_unknown_and_says_why(probe: Probe) -> None:
    probe.found = Unavailable(Code.BASE_IMAGE_UNAVAILABLE, "There is no base image.", hint="Pull it.")
    watch = IsolationWatch(guard_of(), lambda: True)
    async with running(watch):
        await until(lambda: watch.at is not None)
    assert str(watch.found) == "unknown (There is no base image.)"
    assert (watch.result.state, watch.result.remedy) == (State.WARNING, "Pull it.")


async def test_a_probe_that_fails_ends_nothing(probe: Probe) -> None:
    probe.found = ZeroDivisionError()
    watch = IsolationWatch(guard_of(), lambda: True)
    async with running(watch):
        await until(lambda: probe.times == 1)
        probe.found = CLOSED
        watch.again()
        await until(lambda: watch.found.level is Level.FULL)


async def test_without_an_engine_it_waits_for_its_return(probe: Probe) -> None:
    up = False
    watch = IsolationWatch(guard_of(), lambda: up)
    async with running(watch):
        await asyncio.sleep(0.05)
        assert probe.times == 0
        up = True
        watch.again()
        await until(lambda: probe.times == 1)


async def test_switched_off_it_is_unknown_for_that_reason(probe: Probe) -> None:
    watch = IsolationWatch(guard_of(isolation_probe="off"), lambda: True)
    async with running(watch):
        await until(lambda: watch.at is not None)
    assert probe.times == 0
    assert (watch.found.level, watch.found.reasons) == (Level.UNKNOWN, ("ISOLATION_PROBE is off",))
    assert "ISOLATION_PROBE" in watch.result.remedy


async def test_what_is_required_fails_until_it_is_known(probe: Probe) -> None:
    watch = IsolationWatch(guard_of(isolation_required="on"), lambda: True)
    assert watch.result.state is State.FAILED
    assert watch.result.finding.endswith("not probed yet): no bot is started")
    async with running(watch):
        await until(lambda: watch.at is not None)
    assert watch.result.state is State.OK


async def test_required_and_gone_it_is_noticed_within_a_minute(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []
    watch = IsolationWatch(guard_of(isolation_required="on"), lambda: True)

    async def wait(event: asyncio.Event, seconds: float) -> None:
        waited.append(seconds)
        probe.found = OPEN
        await asyncio.sleep(0)

    monkeypatch.setattr(watches, "_wait", wait)
    async with running(watch):
        await until(lambda: watch.result.state is State.FAILED and probe.times > 2)
    assert waited[0] < 50
    assert "bot-runner-worker firewall apply" in watch.result.remedy
