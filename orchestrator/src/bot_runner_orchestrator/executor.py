"""Avtomatika's executor, which takes jobs from the queue and brings each one step further."""

import asyncio
from logging import getLogger

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

    async def _queue_again(self, job_id: str, message_id: str) -> None:
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                await self.storage.enqueue_job(job_id)
                # Or the storage would hand this entry out once more, to whoever is idle a minute later.
                await self.storage.ack_job(message_id)
            except REDIS_TROUBLE:
                continue
            return
