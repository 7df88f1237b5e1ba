"""Avtomatika's dispatcher, which chooses the worker for each task."""

import asyncio
from typing import Any

from avtomatika.dispatcher import Dispatcher


class EvenDispatcher(Dispatcher):
    """Chooses by what the workers have to do now.

    Avtomatika remembers the workers and their loads for two seconds: all tasks of a burst would go to one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Or those who choose at the same time would all choose the same.
        self._choosing = asyncio.Lock()

    async def dispatch(self, job_state: dict[str, Any], task_info: dict[str, Any]) -> dict[str, Any]:
        """Give a task to a worker; returns the job."""
        async with self._choosing:
            return await super().dispatch(job_state, task_info)

    async def _get_workers_cached(self, worker_ids: list[str]) -> list[dict[str, Any]]:
        return await self.storage.get_workers(worker_ids)
