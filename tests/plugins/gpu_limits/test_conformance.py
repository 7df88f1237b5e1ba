"""The plugin keeps to what every plugin has to, also while it has something to give."""

import pytest

from bot_runner_worker.testing import PluginConformance


@pytest.fixture(autouse=True)
def something_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of an operator with a GPU."""
    monkeypatch.setenv("GPU_LIMITS_BOTS", "*")
    monkeypatch.setenv("GPU_LIMITS_COUNT", "1")


class TestConformance(PluginConformance):
    """See the class that it extends."""

    plugin = "gpu-limits"
    settings = {"plugin_grants": "gpu-limits:gpus=1"}
