"""Jobs in Redis, for a stack whose orchestrator may be restarted."""

from typing import Any

from avtomatika.storage.redis import RedisStorage

from .clocks import by_wall_clock
from .storage import BotRunnerStorage


class BotRunnerRedisStorage(BotRunnerStorage, RedisStorage):
    """Jobs, workers and queues in Redis; survives a restart of this process."""

    _redis: Any  # a client for asyncio; Avtomatika's annotation names the blocking one

    async def watched_jobs(self) -> list[str]:
        return [entry.decode() for entry in await self._redis.zrange("orchestrator:watched_jobs", 0, -1)]

    async def add_job_to_watch(self, job_id: str, timeout_at: float) -> None:
        await super().add_job_to_watch(job_id, by_wall_clock(timeout_at))

    async def increment_key_with_ttl(self, key: str, ttl: int) -> int:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, 0, nx=True, ex=ttl)
            pipe.incr(key)
            _, count = await pipe.execute()
        return int(count)

    async def update_worker_data(self, worker_id: str, update_data: dict[str, Any]) -> dict[str, Any] | None:
        # Avtomatika writes it anew without its time to live: a worker that went away would stay for ever.
        key = f"orchestrator:worker:info:{worker_id}"
        left = await self._redis.pttl(key)
        data = await super().update_worker_data(worker_id, update_data)
        if left > 0:
            await self._redis.pexpire(key, left)
        return data

    async def _next_task(self, worker_id: str, timeout_seconds: float) -> dict[str, Any] | None:
        queue = f"orchestrator:task_queue:{worker_id}"
        entry = await self._redis.bzpopmax([queue], max(timeout_seconds, 0.1))  # 0 would mean for ever
        if not entry:
            return None
        task = self._unpack(entry[1])
        return task if isinstance(task, dict) else None

    async def _forget_later(self, job_id: str) -> None:
        await self._redis.expire(self._get_key(job_id), int(self._retention_seconds) + 1)

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()
