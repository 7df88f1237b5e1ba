"""Event queues: plugins hear of events in order, and a slow one delays nobody."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from bot_runner_worker.plugins.guard import HookCall

logger = logging.getLogger(__name__)

AT_ONCE = 0.5
"""Seconds for which the teller of an event waits, so that a quick plugin has heard of it by then."""

CAPACITY = 1000
"""Events that wait for one plugin; of more, the oldest are dropped."""

CLOSE_SECONDS = 2.0


class EventQueues:
    """Awaits what plugins returned for events, one after the other for each plugin.

    Args:
        hear: Awaits one; raises nothing.
    """

    def __init__(self, hear: Callable[[HookCall], Awaitable[None]]) -> None:
        self._hear = hear
        self._queues: dict[str, deque[HookCall]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def put(self, calls: Iterable[HookCall]) -> None:
        """Queue the plugins' answers to an event, and wait a moment for idle plugins."""
        idle = []
        for call in calls:
            queue = self._queues.setdefault(call.plugin, deque())
            if len(queue) >= CAPACITY:
                queue.popleft().close()
                logger.warning("the plugin %s is too slow for its events: one was dropped", call.plugin)
            queue.append(call)
            if call.plugin not in self._tasks or self._tasks[call.plugin].done():
                self._tasks[call.plugin] = asyncio.create_task(self._work(queue))
                idle.append(self._tasks[call.plugin])
        if idle:
            await asyncio.wait(idle, timeout=AT_ONCE)

    async def close(self) -> None:
        """Give plugins a moment for what waits."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CLOSE_SECONDS)
        for queue in self._queues.values():
            while queue:
                queue.popleft().close()

    async def _work(self, queue: deque[HookCall]) -> None:
        while queue:
            await self._hear(queue.popleft())
