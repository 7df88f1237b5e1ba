"""The command ``bot-runner``: deploy and watch bots through an Avtomatika orchestrator."""

from importlib.metadata import version

__version__ = version("bot-runner-cli")
