"""Fixtures of the tests of mode ``image``."""

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.registry import Registry, private_registry, registry, registry_folder

__all__ = ["private_registry", "registry", "registry_folder", "runner"]


@pytest.fixture
async def runner(make_runner: MakeRunner, registry: Registry, private_registry: Registry) -> RunnerUnderTest:
    """A runner that may use both registries."""
    return await make_runner(registries_allowed=f"{registry.host},{private_registry.host}")
