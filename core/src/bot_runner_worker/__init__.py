"""Avtomatika Bot Runner Worker: deploys Telegram bots into isolated Docker containers.

Plugin authors import from :mod:`bot_runner_worker.plugin`; everything else is internal.
"""

from importlib.metadata import version

__version__ = version("bot-runner-worker")
