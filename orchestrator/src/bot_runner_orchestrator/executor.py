"""Avtomatika's executor, which takes jobs from the queue and brings each one step further."""

import asyncio
from logging import getLogger
from typing import Any

from avtomatika.executor import JobExecutor

from .redis_storage import REDIS_TROUBLE
from .sealing import is_final

logger = getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two tries while the storage is away."""


class PatientExecutor(JobExecutor):
    """Does not forget a job that it was at when the storage was away.

    Avtomatika takes the job off the queue whatever became of it: one error on a connection, and nobody would
    ever look at that job again.
    """

    async def _process_job(self, job_id: str, message_id: str) -> None:
        try:
            if is_final(await self.storage.get_job_state(job_id) or {}):
                # Cancelled while it waited.
                await self.storage.ack_job(message_id)
                return
            await super()._process_job(job_id, message_id)
        except REDIS_TROUBLE as error:
            logger.warning("Redis is away; job %s is queued again: %s", job_id, error)
            await self._queue_again(job_id, message_id)

    async def _handle_failure(self, job_state: dict[str, Any], error: Exception, duration_ms: int) -> None:
        """Repeat a step that failed because the storage was away, from the job as it is stored.

        Avtomatika would store what the failed step made of the job: one that is sealed, yet not over, is
        never looked at again.
        """
        if not isinstance(error, REDIS_TROUBLE):
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
            except REDIS_TROUBLE:
                await asyncio.sleep(_PAUSE)
                continue
            return
