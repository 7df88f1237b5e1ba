"""Jobs in this process's memory, for one machine without Redis."""

import asyncio
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from inspect import isawaitable
from itertools import count
from time import monotonic
from typing import Any

from avtomatika.storage.memory import MemoryStorage

from .storage import BotRunnerStorage, by_monotonic_clock


class _IsolatedMemoryStorage(MemoryStorage):
    """Memory storage that copies jobs on read and write and numbers its messages, as Redis does."""

    def __init__(self) -> None:
        super().__init__()
        self._message_numbers = count(1)

    async def get_job_state(self, job_id: str) -> dict[str, Any] | None:
        # The stored dictionary itself would let any reader change the job behind the storage's back.
        return deepcopy(await super().get_job_state(job_id))

    async def update_job_state_atomic(
        self, job_id: str, update_callback: Callable[[dict[str, Any]], Any]
    ) -> dict[str, Any]:
        async def on_a_copy(stored: dict[str, Any]) -> dict[str, Any]:
            updated = update_callback(deepcopy(stored))
            return deepcopy(await updated if isawaitable(updated) else updated)

        # Avtomatika awaits such a callback, whatever its annotation says.
        state = await super().update_job_state_atomic(job_id, on_a_copy)  # type: ignore[arg-type]
        if not state:
            self._jobs.pop(job_id, None)
        return deepcopy(state)

    async def dequeue_job(self, block: int | None = None) -> tuple[str, str] | None:
        # The executor drops a message whose id it is working on, and here all have the same one.
        entry = await super().dequeue_job(block)
        return (entry[0], f"memory-{next(self._message_numbers)}") if entry else None

    async def add_job_to_watch(self, job_id: str, timeout_at: float) -> None:
        await super().add_job_to_watch(job_id, by_monotonic_clock(timeout_at))


class BotRunnerMemoryStorage(BotRunnerStorage, _IsolatedMemoryStorage):
    """Jobs, workers and queues in this process; gone when it ends."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._over: deque[tuple[float, str]] = deque()

    async def increment_key_with_ttl(self, key: str, ttl: int) -> int:
        await self.set_nx_ttl(key, "0", ttl)
        return await self.increment_key(key)

    async def watched_jobs(self) -> list[str]:
        return list(self._watched_jobs)

    async def _next_task(self, worker_id: str, timeout_seconds: float) -> dict[str, Any] | None:
        queue = self._worker_task_queues.setdefault(worker_id, asyncio.PriorityQueue())
        try:
            _, _, task = await asyncio.wait_for(queue.get(), timeout_seconds)
        except TimeoutError:
            return None
        assert isinstance(task, dict)
        return task

    async def _forget_later(self, job_id: str) -> None:
        now = monotonic()
        self._over.append((now, job_id))
        while self._over and self._over[0][0] <= now - self._retention_seconds:
            self._jobs.pop(self._over.popleft()[1], None)
