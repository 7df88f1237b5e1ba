"""The plugin keeps to what every plugin has to."""

from bot_runner_pypi.conformance import PypiConformance


class TestConformance(PypiConformance):
    """All of it is inherited; with an index that has a bot, test_package.py starts one on the Engine."""
