"""In which tier a test runs, in which order, and how long it took; each suite's conftest takes it over."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

TIERS = {
    "quick": "needs no Docker Engine; what carries no other marker is quick",
    "engine": "shows a promise of the README once, on a real Engine; part of `make test`",
    "slow": "goes deeper on a real Engine, the orchestrator or Redis; part of `make test-full`",
    "faults": "kills, hangs or fills something that bots depend on; part of `make test-full`",
    "compose": "brings compose.yaml up; part of `make test-full`",
    "images": "builds the published images, wheels or documentation; part of `make test-full`",
}

RECORDED = Path(__file__).parent / "durations.json"
"""Seconds by tier and file, of those that take long: `make test-times` writes it anew."""


def pytest_configure(config: pytest.Config) -> None:
    for name, words in TIERS.items():
        config.addinivalue_line("markers", f"{name}: {words}")
    config.pluginmanager.register(_Times(), "test-times")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test its one tier, and begin with the files that take longest: no process ends alone."""
    recorded = json.loads(RECORDED.read_text())
    seconds: dict[pytest.Item, float] = {}
    for item in items:
        tiers = {mark.name for mark in item.iter_markers() if mark.name in TIERS} or {"quick"}
        if len(tiers) > 1:
            raise pytest.UsageError(f"{item.nodeid} is in more than one tier: {', '.join(sorted(tiers))}")
        (tier,) = tiers
        item.add_marker(tier)
        seconds[item] = recorded.get(tier, {}).get(str(item.path.relative_to(config.rootpath)), 0)
    items.sort(key=lambda item: -seconds[item])


class _Times:
    """Writes what each test took to the file that ``TEST_TIMES`` names, for scripts/test_times.py."""

    def __init__(self) -> None:
        self._tests: dict[str, dict[str, object]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tier = next((name for name in TIERS if name in report.keywords), "quick")
        test = self._tests.setdefault(report.nodeid, {"tier": tier, "seconds": 0.0, "outcome": "passed"})
        test["seconds"] = float(str(test["seconds"])) + report.duration
        if report.outcome != "passed":
            test["outcome"] = report.outcome

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        try:
            return (yield)
        finally:
            target = os.environ.get("TEST_TIMES")
            if target and not hasattr(session.config, "workerinput"):
                Path(target).write_text(json.dumps(self._tests, indent=1))
