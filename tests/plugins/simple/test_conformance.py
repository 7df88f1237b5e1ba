"""The plugin keeps to what every plugin has to."""

from bot_runner_simple.conformance import SimpleConformance


class TestConformance(SimpleConformance):
    """All of it is inherited."""
