"""Fixtures that all tests share, from the kit that plugin authors use, too."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bot_runner_worker.plugins.rules import HookRules
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.memory_runner import ignore_progress
from bot_runner_worker.testing.real_runner import (
    BASE_IMAGE,
    ENGINE,
    IDLE_BOT,
    RunnerUnderTest,
    claim_volumes,
    runner_under_test,
)

__all__ = [
    "BASE_IMAGE",
    "ENGINE",
    "IDLE_BOT",
    "MakeRunner",
    "RunnerUnderTest",
    "claim_volumes",
    "ignore_progress",
]

MakeRunner = Callable[..., Awaitable[RunnerUnderTest]]


@pytest.fixture
async def make_runner() -> AsyncIterator[MakeRunner]:
    """Make runners with settings of the test's choice, each in a namespace of its own.

    ``plugins`` may be a folder of plugins, see :mod:`tests.core.plugin_factory`.
    """
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> RunnerUnderTest:
            folder = settings.pop("plugins", None)
            rules = HookRules.of(Settings.load(**{"worker_token": "x", **settings}))
            plugins = None if folder is None else folder.plugins(rules)
            return await stack.enter_async_context(runner_under_test(plugins=plugins, **settings))

        yield make


@pytest.fixture
async def runner(make_runner: MakeRunner) -> RunnerUnderTest:
    """A runner with the default settings."""
    return await make_runner()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(item.config.rootpath / "tests" / "compose"))
