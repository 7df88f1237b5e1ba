"""Ctrl-C and SIGTERM end a run in order: the main task is cancelled, so that every `finally` runs."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(main: Coroutine[Any, Any, int], *, until_interrupted: bool = False) -> int:
    """Run `main` and return its exit code, or 128 + signal number if a signal ended it (as shells count).

    With `until_interrupted`, a signal is how it is meant to end, and the exit code then is 0.
    """
    return asyncio.run(_interruptible(main, until_interrupted))


async def _interruptible(main: Coroutine[Any, Any, int], until_interrupted: bool) -> int:
    task = asyncio.ensure_future(main)
    received: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        # Once only: an impatient second Ctrl-C must not cut the clean-up short.
        if not received:
            received.append(number)
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 0 if until_interrupted else 128 + received[0]
