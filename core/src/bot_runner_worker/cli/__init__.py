"""The command ``bot-runner-worker``, for operators and plugin authors."""

from bot_runner_worker.cli.main import app

__all__ = ["app"]
