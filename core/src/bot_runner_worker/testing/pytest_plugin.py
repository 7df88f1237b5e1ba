"""The kit's fixtures, found by pytest through the entry point ``pytest11``.

This module is imported by every run of pytest in an environment that has the worker: what the fixtures need
is imported by those who ask for them.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from bot_runner_worker.testing.memory_runner import MemoryRunner
    from bot_runner_worker.testing.real_runner import RunnerUnderTest
    from bot_runner_worker.testing.source_server import SourceServer


class MakeRealRunner(Protocol):
    """Makes runners on the real Engine; arguments are settings."""

    def __call__(self, **settings: Any) -> "AbstractAsyncContextManager[RunnerUnderTest]":
        """Make one."""
        ...


class MakeMemoryRunner(Protocol):
    """Makes runners over an Engine in memory; arguments are settings."""

    def __call__(self, **settings: Any) -> "AbstractAsyncContextManager[MemoryRunner]":
        """Make one."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Make the kit's one marker known."""
    config.addinivalue_line("markers", "engine: needs a real Docker Engine")


@pytest.fixture(scope="session")
def bot_engine() -> str:
    """The address of the real Engine; the test is skipped where there is none."""
    from bot_runner_worker.testing.real_runner import ENGINE, engine_answers

    if not engine_answers(ENGINE):
        pytest.skip(f"no Docker Engine at {ENGINE}")
    return ENGINE


@pytest.fixture
def bot_runner(bot_engine: str) -> MakeRealRunner:  # noqa: ARG001 - skips where there is none
    """Makes runners on the real Engine, each in a namespace that is swept at the end."""
    from bot_runner_worker.testing.real_runner import runner_under_test

    return runner_under_test


@pytest.fixture
def memory_bot_runner() -> MakeMemoryRunner:
    """Makes runners over an Engine in memory."""
    from bot_runner_worker.testing.memory_runner import memory_runner

    return memory_runner


@pytest.fixture
def bot_tenant() -> str:
    """A user id that nobody else has."""
    from uuid import uuid4

    return f"tenant-{uuid4().hex[:12]}"


@pytest.fixture
def source_server() -> "Iterator[SourceServer]":
    """A local HTTP server for code and misbehaviour."""
    from bot_runner_worker.testing.source_server import SourceServer

    server = SourceServer()
    yield server
    server.close()
