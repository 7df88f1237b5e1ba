"""Time limits for blocking work on untrusted input, which runs in a thread."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bot_runner_worker.model.errors import Rejected

Result = TypeVar("Result")
_TICK = 1.0


class Deadline:
    """A time limit that the work itself checks between small steps.

    Args:
        seconds: Time from now on.
        code: Code of the error when the time is over.
        message: What took too long, in the user's terms.
    """

    def __init__(self, seconds: float, *, code: str, message: str) -> None:
        self._end = time.monotonic() + seconds
        self._code = code
        self._message = message
        self._called_off = False

    @property
    def remaining(self) -> float:
        """Seconds that are left, never negative."""
        return max(0.0, self._end - time.monotonic())

    def call_off(self) -> None:
        """Make the next :meth:`check` fail."""
        self._called_off = True

    def check(self) -> None:
        """Check that there is time left.

        Raises:
            Rejected: With the deadline's code, if the time is over or the work was called off.
        """
        if self._called_off or time.monotonic() > self._end:
            raise Rejected(
                self._code,
                self._message,
                hint="Make the project smaller, or ask the operator for a larger SOURCE_TIMEOUT_SECONDS.",
            )


async def in_thread(
    work: Callable[[], Result], deadline: Deadline, tick: Callable[[], Awaitable[None]] | None = None
) -> Result:
    """Run blocking work in a thread of its own.

    When the caller is cancelled, it calls the work off and waits for the work to end: nothing goes on, and
    no file stays open, after a task has ended.

    Args:
        work: Checks ``deadline`` between small steps.
        deadline: Called off when the caller is cancelled.
        tick: Awaited about once a second meanwhile, to report progress.
    """
    # Not the loop's own executor: its few threads also resolve host names, and would all be taken.
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bot-runner-source")
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    executor.shutdown(wait=False)
    try:
        while not (await asyncio.wait([future], timeout=_TICK))[0]:
            if tick is not None:
                await tick()
    except BaseException:
        deadline.call_off()
        await asyncio.shield(_ended(future))
        raise
    return future.result()


async def _ended(future: asyncio.Future[Result]) -> None:
    await asyncio.wait([future])
    if future.exception() is None and callable(close := getattr(future.result(), "close", None)):
        close()
