"""``bot-runner-worker run``."""

from bot_runner_worker.cli.output import or_exit
from bot_runner_worker.settings import Settings
from bot_runner_worker.worker import run_worker


def run() -> None:
    """Run the worker until SIGTERM or Ctrl-C. Bots go on running without it."""
    settings = or_exit(Settings.load)
    or_exit(lambda: run_worker(settings))
