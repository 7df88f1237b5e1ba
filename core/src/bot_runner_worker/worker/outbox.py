"""A bounded queue of events for the orchestrator, delivered in order in the background."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from rxon.exceptions import RxonError
from rxon.models import WorkerEventPayload

logger = logging.getLogger(__name__)

CAPACITY = 1000
"""Events that wait for an orchestrator that is away; after that the oldest are dropped."""


class EventOutbox:
    """Delivers events one after the other.

    Args:
        deliver: Delivers one, however long it takes; raises :class:`RxonError` if it is refused for good.
    """

    def __init__(self, deliver: Callable[[WorkerEventPayload], Awaitable[None]]) -> None:
        self._deliver = deliver
        self._waiting: deque[WorkerEventPayload] = deque()
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: WorkerEventPayload) -> None:
        """Take an event for delivery; never waits."""
        if len(self._waiting) >= CAPACITY:
            # The first one may be on its way.
            del self._waiting[1]
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("more than %d events wait for the orchestrator: the oldest are lost", CAPACITY)
        self._waiting.append(event)
        self._empty.clear()
        self._some.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._some.wait()
            while self._waiting:
                event = self._waiting[0]
                try:
                    await self._deliver(event)
                except RxonError as error:
                    logger.warning("the orchestrator refuses the event %s: %s", event.event_type, error)
                except Exception:
                    logger.exception("the event %s was not delivered", event.event_type)
                self._waiting.popleft()
            self._some.clear()
            self._empty.set()

    async def delivered(self) -> None:
        """Wait until nothing waits any more."""
        await self._empty.wait()
