"""Makes worker processes at the price of a fork: the imports, most of a worker's start, are done once.

A program of its own. Each line on its standard input is one worker: ``{"environment": {…}, "log": "path"}``;
the answer is the worker's process id. When the input ends, so does it.
"""

import gc
import json
import os
import signal
import sys

from bot_runner_worker.cli.run import run_worker
from bot_runner_worker.settings import Settings


def main() -> None:
    """Serve the input."""
    # What has ended is reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_a_worker(order["environment"], order["log"])
        print(pid, flush=True)


def _be_a_worker(environment: dict[str, str], log: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    os.environ.clear()
    os.environ.update(environment)
    try:
        run_worker(Settings.load())
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
