"""Fixtures of the tests of mode ``image``."""

from collections.abc import AsyncIterator

import pytest
from tests.conftest import RunnerUnderTest, runner_under_test
from tests.registry import Registry, private_registry, registry, registry_folder

__all__ = ["private_registry", "registry", "registry_folder", "runner", "shared"]


@pytest.fixture(scope="module")
async def shared(registry: Registry, private_registry: Registry) -> AsyncIterator[RunnerUnderTest]:
    """A runner that may use both registries."""
    hosts = f"{registry.host},{private_registry.host}"
    async with runner_under_test(registries_allowed=hosts, stop_grace_seconds=1) as runner:
        yield runner


@pytest.fixture
async def runner(shared: RunnerUnderTest) -> AsyncIterator[RunnerUnderTest]:
    """The same, whose bots are removed after each test."""
    yield shared
    for record in await shared.runner.runtime.list_bots():
        await shared.runner.runtime.remove(record)
