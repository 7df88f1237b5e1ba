"""What the checks look at: the real Engine by default, with what a test makes of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.conftest import ENGINE, MakeRunner

from bot_runner_worker.diagnostics.checks.context import CheckContext, EngineFacts, survey
from bot_runner_worker.engine import Engine
from bot_runner_worker.images.base import network_environment
from bot_runner_worker.isolation.probe import probe_isolation

Look = Callable[..., Awaitable[CheckContext]]


@pytest.fixture(autouse=True)
def no_metadata_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The isolation probe must not send packets to the clouds' real addresses."""
    monkeypatch.setattr(probe_isolation, "__kwdefaults__", {"metadata": ()})


@pytest.fixture
async def look(make_runner: MakeRunner) -> AsyncIterator[Look]:
    """Survey the surroundings with these settings; what a check leaves behind is an error."""
    async with AsyncExitStack() as stack:
        runners = []

        async def make(**settings: Any) -> CheckContext:
            host = settings.pop("docker_host", ENGINE)
            # Nobody answers at the discard port.
            runner = await make_runner(**{"orchestrator_url": "http://127.0.0.1:9", **settings})
            runners.append(runner)
            engine = await stack.enter_async_context(Engine(host))
            return await survey(engine, runner.settings.model_copy(update={"docker_host": host}))

        yield make
        for runner in runners:
            assert await runner.leftovers("containers/json", "networks") == []
            # With such settings, the base image that has them stays, as after a start.
            if not network_environment(runner.settings):
                assert await runner.leftovers("images/json") == []


def but(here: CheckContext, **info: Any) -> CheckContext:
    """CheckContext in which the Engine says these things of itself."""
    facts = here.known
    return replace(here, facts=replace(facts, info=facts.info | info))


def with_facts(here: CheckContext, **facts: Any) -> CheckContext:
    """CheckContext with other facts."""
    assert isinstance(here.facts, EngineFacts)
    return replace(here, facts=replace(here.facts, **facts))
