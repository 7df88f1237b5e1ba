"""Fixtures of the corpus: the servers, runners shared by all cases of the same settings, and the log."""

import io
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pydantic import SecretStr
from tests.conftest import BASE_IMAGE, RunnerUnderTest, runner_under_test
from tests.corpus import names
from tests.corpus.servers import ALLOWED, Servers

from bot_runner_worker.images.store import ImageStore
from bot_runner_worker.logs import set_up_logging
from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.memory_runner import MemoryRunner, memory_settings

SharedRunner = Callable[[Mapping[str, Any]], Awaitable[RunnerUnderTest]]
SharedMemoryRunner = Callable[[Mapping[str, Any]], MemoryRunner]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers of the corpus."""
    running = Servers(tmp_path_factory.mktemp("servers"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary folder of this process alone: whatever turns up in it is our doing.

    Not for longer: other tests take turns by a lock in the folder that all processes share.
    """
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = before


@pytest.fixture
def host_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names such as ``rebind.example``, see :mod:`tests.corpus.names`."""
    names.install(monkeypatch)


@pytest.fixture(scope="session")
async def shared_runner(servers: Servers) -> AsyncIterator[SharedRunner]:
    """Runners on the Engine by their settings, each in a namespace of its own, swept at the end."""
    runners: dict[str, RunnerUnderTest] = {}
    async with AsyncExitStack() as stack:

        async def get(changes: Mapping[str, Any]) -> RunnerUnderTest:
            key = repr(sorted(changes.items()))
            if key not in runners:
                settings = {"stop_grace_seconds": 1, **_settings(servers), **changes}
                runner = await stack.enter_async_context(runner_under_test(**settings))
                # The base image with the operator's CA is made at the first need, and stays: not a case's
                # doing, nor within the time that the case leaves a build.
                patient = runner.settings.model_copy(update={"build_timeout_seconds": 600})
                await ImageStore(runner.engine, patient).base()
                runners[key] = runner
            return runners[key]

        yield get


@pytest.fixture(scope="session")
def shared_memory_runner(servers: Servers) -> SharedMemoryRunner:
    """Runners over an Engine in memory by their settings, otherwise as those on the Engine."""
    runners: dict[str, MemoryRunner] = {}

    def get(changes: Mapping[str, Any]) -> MemoryRunner:
        key = repr(sorted(changes.items()))
        if key not in runners:
            runners[key] = MemoryRunner(memory_settings(**{**_settings(servers), **changes}))
        return runners[key]

    return get


def _settings(servers: Servers) -> dict[str, Any]:
    return {
        "worker_token": SecretStr("sentinel-worker-token"),
        "base_image": BASE_IMAGE,
        "source_addresses_allowed": f"{ALLOWED}/32",
        "ca_bundle": servers.authority.certificate,
        "source_timeout_seconds": 120,
        "max_source_size": "8m",
        "max_context_size": "16m",
    }


@pytest.fixture(scope="session")
def talkative() -> Settings:
    """Settings of whoever wants to read everything."""
    return Settings.load(worker_token=SecretStr("unused"), log_level="DEBUG")


@pytest.fixture
def log(talkative: Settings) -> Iterator[io.StringIO]:
    """Everything that is logged, at the most talkative level and as the operator would see it."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, sys.stderr
    written = io.StringIO()
    sys.stderr = written
    try:
        set_up_logging(talkative)
    finally:
        sys.stderr = stream
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
