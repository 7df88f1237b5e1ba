"""Avtomatika's executor, which takes jobs from the queue and brings each one step further."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any

from avtomatika import engine as avtomatika_engine
from avtomatika.dispatcher import Dispatcher
from avtomatika.executor import JobExecutor

from .jobs import is_final
from .redis_storage import is_redis_trouble

logger = getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two tries while the storage is away."""


@contextmanager
def resilient_executor() -> Iterator[None]:
    """Let Avtomatika's engine make a :class:`ResilientExecutor` when it starts.

    The engine makes its executor by this name and starts it at once, so that a later replacement is too late.
    """
    original = avtomatika_engine.JobExecutor  # type: ignore[attr-defined]
    avtomatika_engine.JobExecutor = ResilientExecutor  # type: ignore[attr-defined]
    try:
        yield
    finally:
        avtomatika_engine.JobExecutor = original  # type: ignore[attr-defined]


class LeastLoadedDispatcher(Dispatcher):
    """Chooses workers by their current load.

    Avtomatika caches the workers and their loads for two seconds: all tasks of a burst go to one. The storage
    cannot choose instead: it is asked by the skill's name only, and which worker fits depends on the params
    (not every worker offers every mode) and on the reputation, both of which are checked after that.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Without it, those who choose at the same time all choose the same.
        self._choosing = asyncio.Lock()

    async def dispatch(self, job_state: dict[str, Any], task_info: dict[str, Any]) -> dict[str, Any]:
        """Give a task to a worker; returns the job."""
        async with self._choosing:
            return await super().dispatch(job_state, task_info)

    async def _get_workers_cached(self, worker_ids: list[str]) -> list[dict[str, Any]]:
        return await self.storage.get_workers(worker_ids)


class ResilientExecutor(JobExecutor):
    """Does not forget a job that it is at when the storage is away.

    Avtomatika takes the job off the queue whatever became of it: after one error on a connection nobody ever
    looks at that job again.
    """

    def __init__(self, engine: Any, history_storage: Any, metrics: Any) -> None:
        super().__init__(engine, history_storage, metrics)
        self.dispatcher = LeastLoadedDispatcher(engine.storage, engine.config, metrics)

    async def _process_job(self, job_id: str, message_id: str) -> None:
        try:
            if is_final(await self.storage.get_job_state(job_id) or {}):
                # Cancelled while it waited.
                await self.storage.ack_job(message_id)
                return
            await super()._process_job(job_id, message_id)
        except Exception as error:
            task = asyncio.current_task()
            # A task that is cancelled at shutdown may meet a Redis that is gone, too, and must not stay.
            if not is_redis_trouble(error) or (task and task.cancelling()):
                raise
            logger.warning("Redis is away; job %s is queued again: %s", job_id, error)
            await self._queue_again(job_id, message_id)

    async def _handle_failure(self, job_state: dict[str, Any], error: Exception, duration_ms: int) -> None:
        """Repeat a step that failed because the storage was away, from the job as it is stored.

        Avtomatika would store what the failed step made of the job: one that is finalized, yet not over, is
        never looked at again.
        """
        if not is_redis_trouble(error):
            await super()._handle_failure(job_state, error, duration_ms)
            return
        logger.warning("Redis is away; job %s is queued again: %s", job_state["id"], error)
        await asyncio.sleep(_PAUSE)
        # Before the old entry leaves the queue: this process may end at any time.
        await self.storage.enqueue_job(job_state["id"])

    async def _queue_again(self, job_id: str, message_id: str) -> None:
        while True:
            try:
                await self.storage.enqueue_job(job_id)
                # Or the storage would hand this entry out once more, to whoever is idle a minute later.
                await self.storage.ack_job(message_id)
            except Exception as error:
                if not is_redis_trouble(error):
                    raise
                await asyncio.sleep(_PAUSE)
                continue
            return
