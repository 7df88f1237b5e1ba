"""The plugin keeps to what every plugin has to."""

from bot_runner_custom_archive.conformance import ArchiveConformance


class TestConformance(ArchiveConformance):
    """All of it is inherited."""
