"""The plugin keeps to what every plugin has to."""

from bot_runner_image.conformance import ImageConformance


class TestConformance(ImageConformance):
    """All of it is inherited."""
