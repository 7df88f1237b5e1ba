"""Telling whoever wants to know what happened to a bot: plugins, and the orchestrator."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from bot_runner_worker.events import BotEvent, EventType
from bot_runner_worker.results import BotStatus
from bot_runner_worker.runtime.spec import BotRecord

logger = logging.getLogger(__name__)

Listener = Callable[[BotEvent], Awaitable[None]]

_DEATHS = {BotStatus.CRASHED: EventType.CRASHED, BotStatus.EXITED: EventType.EXITED}


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


class DeathWatch:
    """Notices bots that died by themselves, and announces each death once.

    Args:
        announcer: Told of deaths.
    """

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._last_seen: dict[str, BotStatus] = {}

    async def look(self, records: Iterable[BotRecord]) -> None:
        """Compare with the last look. What was dead at the first one is no news.

        Args:
            records: All bots as they are now.
        """
        seen = {}
        for record in records:
            seen[record.id] = record.status
            before = self._last_seen.get(record.id)
            kind = _DEATHS.get(record.status)
            if kind is not None and before is not None and before.is_live:
                await self._announcer.tell(
                    kind,
                    record,
                    exit_code=record.exit_code,
                    oom_killed=record.oom_killed,
                    restart_count=record.restart_count,
                    reason=record.reason,
                )
        self._last_seen = seen
