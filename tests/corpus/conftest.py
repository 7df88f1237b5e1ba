"""Fixtures of the corpus: the servers, runners shared by all cases of the same settings, and the log."""

import io
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from tests.conftest import BASE_IMAGE, ENGINE, RunnerUnderTest
from tests.corpus import names
from tests.corpus.servers import ALLOWED, Servers

from bot_runner_worker.images.store import ImageStore
from bot_runner_worker.logs import set_up_logging
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings

SharedRunner = Callable[[Mapping[str, Any]], Awaitable[RunnerUnderTest]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many hostile inputs were tried, and ended as they should; from the reports of all processes."""
    tried = [each for each in terminalreporter.getreports("passed") if "::test_hostile_input[" in each.nodeid]
    if tried:
        terminalreporter.write_line(f"hostile inputs tried: {len(tried)}")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers of the corpus."""
    running = Servers(tmp_path_factory.mktemp("servers"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary folder of this process alone: whatever turns up in it is our doing."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = before


@pytest.fixture
def host_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names such as ``rebind.example``, see :mod:`tests.corpus.names`."""
    names.install(monkeypatch)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_runner(servers: Servers) -> AsyncIterator[SharedRunner]:
    """Runners by their settings, each in a namespace of its own, swept at the end."""
    runners: dict[str, RunnerUnderTest] = {}

    async def get(settings: Mapping[str, Any]) -> RunnerUnderTest:
        key = repr(sorted(settings.items()))
        if key not in runners:
            runners[key] = await _new_runner(servers, settings)
        return runners[key]

    yield get
    for runner in runners.values():
        await runner.runner.runtime.remove_all()
        await runner.runner.__aexit__()


async def _new_runner(servers: Servers, changes: Mapping[str, Any]) -> RunnerUnderTest:
    namespace = f"corpus-{uuid4().hex[:12]}"
    settings = {
        "worker_token": SecretStr("sentinel-worker-token"),
        "docker_host": ENGINE,
        "base_image": BASE_IMAGE,
        "docker_network": f"{namespace}-net",
        "source_addresses_allowed": f"{ALLOWED}/32",
        "ca_bundle": servers.authority.certificate,
        "source_timeout_seconds": 5,
        "max_source_size": "8m",
        "max_context_size": "16m",
        "build_timeout_seconds": 60,
        "stop_grace_seconds": 1,
        **changes,
    }
    runner = Runner(Settings.load(runner_namespace=namespace, **settings))
    # The base image with the operator's CA is made at the first need, and stays: not a case's doing, nor
    # within the time that the case leaves a build.
    patient = runner.settings.model_copy(update={"build_timeout_seconds": 60})
    await ImageStore(runner.engine, patient).base()
    return RunnerUnderTest(runner)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, at the most talkative level and as the operator would see it."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, sys.stderr
    written = io.StringIO()
    sys.stderr = written
    try:
        set_up_logging(Settings.load(worker_token=SecretStr("unused"), log_level="DEBUG"))
    finally:
        sys.stderr = stream
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
