"""The ``bot_runner`` blueprint and a ready Avtomatika orchestrator process around it."""

from importlib.metadata import version

__version__ = version("bot-runner-orchestrator")
