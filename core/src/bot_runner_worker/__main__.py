"""``python -m bot_runner_worker``: the same as ``bot-runner-worker run`` when no command is given."""

import sys

from bot_runner_worker.cli import app

if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.argv.append("run")
    app()
