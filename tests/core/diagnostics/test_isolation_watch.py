"""How well bots are kept apart is probed in the background, and told when it changes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.diagnostics.watches import IsolationWatch
from bot_runner_worker.isolation.probe import Isolation, Level
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.testing.waiting import until

OPEN = Isolation(Level.DEGRADED, ("a bot reaches its gateway 10.231.0.1 on port 22",))
CLOSED = Isolation(Level.FULL)


class Probe:
    """Finds what the test wants."""

    def __init__(self, found: Isolation | Exception) -> None:
        self.found = found
        self.times = 0

    async def __call__(self) -> Isolation:
        self.times += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@asynccontextmanager
async def running(watch: IsolationWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()


async def test_the_log_says_what_is_open_and_how_to_close_it_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    probe = Probe(OPEN)
    watch = IsolationWatch(probe, lambda: True)
    async with running(watch):
        await until(lambda: probe.times == 1)
        watch.again()
        await until(lambda: probe.times == 2)
        probe.found = CLOSED
        watch.again()
        await until(lambda: watch.found is CLOSED)
    first, second = caplog.messages
    assert first.startswith("isolation: degraded (a bot reaches its gateway 10.231.0.1 on port 22).")
    assert "bot-runner-worker firewall apply" in first
    assert second.startswith("isolation: full")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_probe_that_cannot_run_leaves_it_unknown_and_says_why() -> None:
    error = Unavailable(Code.BASE_IMAGE_UNAVAILABLE, "There is no base image.", hint="Pull it.")
    watch = IsolationWatch(Probe(error), lambda: True)
    async with running(watch):
        await until(lambda: watch.at is not None)
    assert str(watch.found) == "unknown (There is no base image.)"
    assert (watch.result.state, watch.result.remedy) == (State.WARNING, "Pull it.")


async def test_a_probe_that_fails_ends_nothing() -> None:
    probe = Probe(ZeroDivisionError())
    watch = IsolationWatch(probe, lambda: True)
    async with running(watch):
        await until(lambda: probe.times == 1)
        probe.found = CLOSED
        watch.again()
        await until(lambda: watch.found is CLOSED)


async def test_without_an_engine_it_waits_for_its_return() -> None:
    probe = Probe(CLOSED)
    up = False
    watch = IsolationWatch(probe, lambda: up)
    async with running(watch):
        await asyncio.sleep(0.05)
        assert probe.times == 0
        up = True
        watch.again()
        await until(lambda: probe.times == 1)


async def test_switched_off_it_is_unknown_for_that_reason() -> None:
    watch = IsolationWatch(None, lambda: True)
    await watch.run()
    assert watch.found == Isolation(Level.UNKNOWN, ("ISOLATION_PROBE is off",))
    assert "ISOLATION_PROBE" in watch.result.remedy
