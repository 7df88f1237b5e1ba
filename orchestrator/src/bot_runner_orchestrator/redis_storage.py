"""Jobs in Redis, for a stack whose orchestrator may be restarted."""

import asyncio
import re
from logging import getLogger
from typing import Any

from avtomatika.storage.redis import RedisStorage
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from .settings import Settings
from .storage import BotRunnerStorage, by_wall_clock

logger = getLogger(__name__)

_REDIS_TROUBLE = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError)
_REFUSES_WRITES = re.compile(r"\b(?:MISCONF|OOM|READONLY)\b")

_CONNECTIONS = 256
"""Each worker that waits for a task holds one all the time; requests come on top."""

_CONNECTION_WAIT = 30.0
_AWAY_PAUSE = 1.0


def is_redis_trouble(error: BaseException) -> bool:
    """Whether Redis is away, is loading, or refuses writes (disk or memory full).

    Args:
        error: What a storage call raised.
    """
    if isinstance(error, _REDIS_TROUBLE):
        return True
    # In a pipeline or script the kind is somewhere in the text.
    return isinstance(error, ResponseError) and bool(_REFUSES_WRITES.search(str(error)))


def connect(settings: Settings) -> "Redis":
    """Make a Redis client, which connects at its first command.

    Args:
        settings: Host, port, database, password.
    """
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    # Requests wait for a connection; Redis's own pool would turn away those that come in a burst.
    pool = BlockingConnectionPool(
        max_connections=_CONNECTIONS,
        socket_timeout=None,  # some commands wait for longer than the default
        timeout=_CONNECTION_WAIT,
        # With them on, as is the default, redis-py 8 hands out connections that Redis has closed.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        host=settings.redis_host or "",
        port=settings.redis_port,
        db=settings.redis_db,
        password=password,
    )
    return Redis.from_pool(pool)


class BotRunnerRedisStorage(BotRunnerStorage, RedisStorage):
    """Jobs, workers and queues in Redis; survives a restart of this process."""

    _redis: Any  # a client for asyncio; Avtomatika's annotation names the blocking one
    _away = False

    async def dequeue_job(self, block: int | None = None) -> tuple[str, str] | None:
        """Return the next queued job, or ``None`` one second after Redis failed.

        Avtomatika's executor would double its wait, up to a minute.

        Args:
            block: Milliseconds to wait; ``None`` for no limit.
        """
        try:
            entry = await super().dequeue_job(block)
        except Exception as error:
            if not is_redis_trouble(error):
                raise
            if not self._away:
                logger.warning("Redis is away: %s", error)
            self._away = True
            await asyncio.sleep(_AWAY_PAUSE)
            return None
        if self._away:
            logger.warning("Redis is back.")
        self._away = False
        return entry

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
        left = await self.get_ttl(f"orchestrator:worker:info:{worker_id}")
        data = await super().update_worker_data(worker_id, update_data)
        if left >= 0:
            await self.refresh_worker_ttl(worker_id, max(left, 1))
        return data

    async def _next_task(self, worker_id: str, timeout_seconds: float) -> dict[str, Any] | None:
        queue = f"orchestrator:task_queue:{worker_id}"
        entry = await self._redis.bzpopmax([queue], max(timeout_seconds, 0.1))  # 0 would mean for ever
        if not entry:
            return None
        task = self._unpack(entry[1])
        return task if isinstance(task, dict) else None

    async def _forget_later(self, job_id: str, seconds: float) -> None:
        # 0 removes it at once.
        await self._redis.pexpire(self._get_key(job_id), int(seconds * 1000))

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()
