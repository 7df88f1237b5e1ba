"""Counts the faults that were survived, and holds what several modules of the suite share."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.conftest import ENGINE

from bot_runner_worker.engine import Engine


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that the faults carry."""
    config.addinivalue_line("markers", "fault: one fault that the runner has to survive")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many faults were survived, from the reports of all processes."""
    faults: dict[str, bool] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if "fault" in report.keywords:
                faults[report.nodeid] = faults.get(report.nodeid, True) and outcome == "passed"
    terminalreporter.ensure_newline()
    terminalreporter.write_line(f"faults survived: {sum(faults.values())} of {len(faults)}")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[Engine]:
    """The machine's Engine."""
    async with Engine(ENGINE) as connected:
        yield connected
