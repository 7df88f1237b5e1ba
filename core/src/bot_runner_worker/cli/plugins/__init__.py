"""``bot-runner-worker plugins``: what is installed, whether it keeps to the contract, and a new one."""

from bot_runner_worker.cli.plugins.commands import plugins

__all__ = ["plugins"]
