"""Telling plugins of events without waiting for the slow ones: each has a mailbox of its own."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from bot_runner_worker.model.events import BotEvent

logger = logging.getLogger(__name__)

AT_ONCE = 0.5
"""Seconds for which whoever tells of an event waits, so that a quick plugin has heard of it by then."""

CAPACITY = 1000
"""Events that wait for one plugin; of more, the oldest are lost to it."""

PATIENCE_AT_THE_END = 2.0

Tell = Callable[[BotEvent], Awaitable[None]]


class EventQueue:
    """One plugin's events, told in their order.

    Args:
        plugin: The plugin's name.
        tell: Tells it of one; raises nothing.
    """

    def __init__(self, plugin: str, tell: Tell) -> None:
        self._plugin = plugin
        self._tell = tell
        self._waiting: deque[tuple[BotEvent, asyncio.Future[None]]] = deque()
        self._telling: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether the plugin is being told of something."""
        return self._telling is not None and not self._telling.done()

    def put(self, event: BotEvent) -> "asyncio.Future[None]":
        """Leave an event; the future is done when the plugin has heard of it."""
        told = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= CAPACITY:
            _, lost = self._waiting.popleft()
            _done(lost)
            logger.warning("the plugin %s is too slow for its events: one was dropped", self._plugin)
        self._waiting.append((event, told))
        if not self.busy:
            self._telling = asyncio.create_task(self._tell_all())
        return told

    async def close(self) -> None:
        """Give the plugin a moment for what waits."""
        if self._telling is None or self._telling.done():
            return
        _, late = await asyncio.wait([self._telling], timeout=PATIENCE_AT_THE_END)
        if late:
            self._telling.cancel()
            await asyncio.wait([self._telling], timeout=PATIENCE_AT_THE_END)

    async def _tell_all(self) -> None:
        while self._waiting:
            event, told = self._waiting.popleft()
            try:
                await self._tell(event)
            finally:
                _done(told)


def _done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def tell_all(mailboxes: list[EventQueue], event: BotEvent) -> None:
    """Tell plugins of an event; one that is still busy with an earlier one is not waited for at all."""
    idle = [mailbox for mailbox in mailboxes if not mailbox.busy]
    told = {mailbox: mailbox.put(event) for mailbox in mailboxes}
    if idle:
        await asyncio.wait([told[mailbox] for mailbox in idle], timeout=AT_ONCE)
