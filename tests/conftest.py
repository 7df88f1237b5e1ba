"""Fixtures that all tests share, from the kit that plugin authors use, too."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import IPv4Network
from typing import Any

import pytest
from tests.tiers import pytest_collection_modifyitems, pytest_configure

from bot_runner_worker.settings import Settings
from bot_runner_worker.testing.memory_runner import ignore_progress
from bot_runner_worker.testing.real_runner import (
    BASE_IMAGE,
    ENGINE,
    IDLE_BOT,
    RunnerUnderTest,
    runner_under_test,
)

__all__ = [
    "BASE_IMAGE",
    "ENGINE",
    "IDLE_BOT",
    "MakeRunner",
    "RunnerUnderTest",
    "ignore_progress",
    "pytest_collection_modifyitems",
    "pytest_configure",
]

# A slice of the addresses for each process: two that make networks at once do not try for the same.
_SLICES = tuple(IPv4Network("10.236.0.0/14").subnets(new_prefix=20))
os.environ["NETWORK_POOL"] = str(_SLICES[os.getpid() % len(_SLICES)])
# But for the tests of it: most have no right to the host's firewall, and their bots are their own.
os.environ["ISOLATION_REQUIRED"] = "off"

MakeRunner = Callable[..., Awaitable[RunnerUnderTest]]


@pytest.fixture
async def make_runner() -> AsyncIterator[MakeRunner]:
    """Make runners with settings of the test's choice, each in a namespace of its own.

    ``plugins`` may be a folder of plugins, see :mod:`tests.core.plugin_factory`.
    """
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> RunnerUnderTest:
            folder = settings.pop("plugins", None)
            loaded = Settings.load(**{"worker_token": "x", **settings})
            plugins = None if folder is None else folder.plugins(loaded)
            return await stack.enter_async_context(runner_under_test(plugins=plugins, **settings))

        yield make


@pytest.fixture(scope="session")
async def shared_runner() -> AsyncIterator[RunnerUnderTest]:
    """The runner with the default settings that the tests of this process share, one after the other."""
    async with runner_under_test() as shared:
        yield shared


@pytest.fixture
async def runner(shared_runner: RunnerUnderTest) -> AsyncIterator[RunnerUnderTest]:
    """A runner with the default settings; nothing of what a test does with it is there for the next one."""
    under_test = RunnerUnderTest(shared_runner.runner, before=await shared_runner.leftovers())
    yield under_test
    await under_test.clean_up()


COUNTED = {
    "faults survived": "tests/faults/",
    "hostile inputs tried": "tests/corpus/test_corpus.py::test_hostile_input",
}
"""What is counted at the end of a run, by how the tests' names begin."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many faults were survived, and so on, from the reports of all processes."""
    for what, beginning in COUNTED.items():
        passed: dict[str, bool] = {}
        for outcome in ("passed", "failed", "error", "skipped"):
            for report in terminalreporter.stats.get(outcome, []):
                if report.nodeid.startswith(beginning):
                    passed[report.nodeid] = passed.get(report.nodeid, True) and outcome == "passed"
        if passed:
            terminalreporter.ensure_newline()
            terminalreporter.write_line(f"{what}: {sum(passed.values())} of {len(passed)}")
