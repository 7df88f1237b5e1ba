"""The tasks that this worker is at, and what becomes of them when it is told to stop."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.tasks.outcome import Ending, Outcome

logger = logging.getLogger(__name__)

CLEAN_UP_SECONDS = 8.0
"""Time that tasks get to remove what they made when they are cut short; a container is stopped meanwhile."""


class RunningTasks:
    """Runs tasks, and hands back those that do not end in time."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Outcome]] = set()
        self._handed_back: set[asyncio.Task[Outcome]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run a task.

        Returns:
            Its outcome; ``WORKER_STOPPING`` if it was cut short by :meth:`hand_back`. The orchestrator gives
            it out again, to another worker or to this one after its return.
        """
        if self._closed:
            work.close()
            return _handed_back()
        task = asyncio.ensure_future(work)
        self._running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            # Cancelled by the orchestrator, it is over; by us, it is handed back.
            if task not in self._handed_back:
                raise
            return _handed_back()
        finally:
            self._running.discard(task)
            self._handed_back.discard(task)

    async def hand_back(self) -> None:
        """Cut short what still runs, and wait until it has cleaned up; nothing is run from now on."""
        self._closed = True
        late = set(self._running)
        self._handed_back |= late
        for task in late:
            task.cancel()
        if late:
            logger.warning("handing back %d tasks that did not end in time", len(late))
            await asyncio.wait(late, timeout=CLEAN_UP_SECONDS)


def _handed_back() -> Outcome:
    error = Unavailable(
        Code.WORKER_STOPPING,
        "The worker was stopped in the middle of the task, of which nothing is left.",
        hint="Send the request again in a minute.",
        stage="task",
    )
    return Outcome(Ending.FAILURE, {"error": error.to_dict()})
