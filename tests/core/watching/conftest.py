"""Fixtures of the tests of the watches."""

import pytest

from bot_runner_worker.watching import disk_use, log_rate, watcher


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watches look as often as they can."""
    monkeypatch.setattr(watcher, "TICK", 0.1)
    monkeypatch.setattr(disk_use, "INTERVAL", 0.2)
    monkeypatch.setattr(log_rate, "INTERVAL", 0.2)
    monkeypatch.setattr(log_rate, "SUSPECT_INTERVAL", 0.2)
    monkeypatch.setattr(log_rate, "WINDOW", 0.5)
    for watch in (disk_use, log_rate):
        monkeypatch.setattr(watch, "SHARE", 1.0)
