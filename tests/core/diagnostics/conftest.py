"""Contexts for checks: the real Engine by default, with changed facts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.conftest import ENGINE, MakeRunner

from bot_runner_worker.diagnostics.checks.context import CheckContext, check_context
from bot_runner_worker.engine import Engine
from bot_runner_worker.isolation.probe import probe_isolation

Look = Callable[..., Awaitable[CheckContext]]


@pytest.fixture(autouse=True)
def no_metadata_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The isolation probe must not send packets to the clouds' real addresses."""
    monkeypatch.setattr(probe_isolation, "__kwdefaults__", {"metadata": ()})


@pytest.fixture
async def look(make_runner: MakeRunner) -> AsyncIterator[Look]:
    """Make a context with these settings; what a check leaves behind is an error."""
    async with AsyncExitStack() as stack:
        runners = []

        async def make(**settings: Any) -> CheckContext:
            host = settings.pop("docker_host", ENGINE)
            # Nobody answers at the discard port.
            runner = await make_runner(**{"orchestrator_url": "http://127.0.0.1:9", **settings})
            runners.append(runner)
            engine = await stack.enter_async_context(Engine(host))
            return await check_context(engine, runner.settings.model_copy(update={"docker_host": host}))

        yield make
        for runner in runners:
            assert await runner.leftovers("containers/json", "networks", "images/json") == []


def but(here: CheckContext, **info: Any) -> CheckContext:
    """A context in which the Engine says these things of itself."""
    return with_facts(here, info=here.facts.info | info)


def with_facts(here: CheckContext, **facts: Any) -> CheckContext:
    """A context with other facts about the Engine."""
    return replace(here, engine_facts=replace(here.facts, **facts))
