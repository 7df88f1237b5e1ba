"""Telling whoever wants to know what happened to a bot: plugins, and the orchestrator."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.spec import BotRecord

logger = logging.getLogger(__name__)

Listener = Callable[[BotEvent], Awaitable[None]]


class Announcer:
    """Tells each listener of each event; one that fails is logged, and changes nothing.

    Args:
        listeners: Told from the beginning.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)

    def listen(self, listener: Listener) -> None:
        """Tell this one as well from now on."""
        self._listeners.append(listener)

    async def tell(self, kind: EventType, record: BotRecord, **details: Any) -> None:
        """Tell all listeners that something happened to a bot."""
        event = BotEvent(kind, record.bot, record.mode, datetime.now(UTC), details)
        for listener in self._listeners:
            try:
                await listener(event)
            except Exception:
                logger.exception("a listener failed on %s", kind)
