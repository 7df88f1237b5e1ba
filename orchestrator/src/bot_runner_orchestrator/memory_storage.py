"""Jobs in this process's memory, for one machine without Redis."""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from heapq import heappop, heappush
from inspect import isawaitable
from itertools import count
from time import monotonic
from typing import Any

from avtomatika.storage.memory import MemoryStorage

from .bodies import UNCOUNTED, text_size
from .jobs import drop_request, tenant_of
from .storage import BotRunnerStorage, by_monotonic_clock

_TENANTS = 4
"""Tenants that may have as much as one may have, all at once."""


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
    """Jobs, workers and queues in this process; gone when it ends.

    Args:
        bytes_of_tenant: What large requests of one user may take, from their arrival until their jobs are
            over; a user's only one may be larger.
        **kwargs: See the base class.
    """

    def __init__(self, *, bytes_of_tenant: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._over: list[tuple[float, str]] = []
        self._bytes_of_tenant = bytes_of_tenant
        self._large: dict[str, tuple[str, int]] = {}

    async def save_job_state(self, job_id: str, state: dict[str, Any]) -> None:
        if job_id not in self._jobs and not self._has_room(job_id, state):
            drop_request(state)
        await super().save_job_state(job_id, state)

    def _has_room(self, job_id: str, state: dict[str, Any]) -> bool:
        tenant, size = tenant_of(state), text_size(state.get("initial_data"))
        if size <= UNCOUNTED:
            return True
        others = [held for each, held in self._large.values() if each == tenant]
        of_all = sum(held for _, held in self._large.values())
        if others and sum(others) + size > self._bytes_of_tenant:
            return False
        if of_all and of_all + size > _TENANTS * self._bytes_of_tenant:
            return False
        self._large[job_id] = (tenant, size)
        return True

    async def get_job_state(self, job_id: str) -> dict[str, Any] | None:
        self._forget_what_is_due()
        return await super().get_job_state(job_id)

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

    async def _forget_later(self, job_id: str, seconds: float) -> None:
        self._large.pop(job_id, None)
        heappush(self._over, (monotonic() + seconds, job_id))
        self._forget_what_is_due()

    def _forget_what_is_due(self) -> None:
        now = monotonic()
        while self._over and self._over[0][0] <= now:
            self._jobs.pop(heappop(self._over)[1], None)
