"""Announcements of what happens to bots, for plugins and the orchestrator."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from bot_runner_worker.bots.diagnosis import LAST_LINES, clean_last_lines, hint_for
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.engine import ENGINE_TROUBLE
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.spec import BotRecord, EndReason

logger = logging.getLogger(__name__)

Listener = Callable[[BotEvent], Awaitable[None]]

_EVENTS = {
    EndReason.STOPPED: EventType.STOPPED,
    EndReason.EXPIRED: EventType.EXPIRED,
    EndReason.EXITED: EventType.EXITED,
    EndReason.CRASHED: EventType.CRASHED,
    EndReason.DISK_LIMIT: EventType.STOPPED,
    EndReason.LOG_FLOOD: EventType.STOPPED,
}


class Announcer:
    """Tells each listener of each event. A listener that fails is logged."""

    def __init__(self, runtime: BotRuntime, listeners: Iterable[Listener] = ()) -> None:
        self._runtime = runtime
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

    async def tell_end(self, record: BotRecord, reason: EndReason, **more: int) -> None:
        """Tell all listeners that a bot has ended for good.

        Args:
            record: The bot as it was before.
            reason: Why it was ended.
            **more: Facts for the event.
        """
        details: dict[str, Any] = {"reason": reason.name.lower()}
        if reason is EndReason.STOPPED:
            # A stop on request needs none.
            details = {}
        if reason in (EndReason.CRASHED, EndReason.EXITED):
            details |= {
                "exit_code": record.exit_code,
                "oom_killed": record.oom_killed,
                "restart_count": record.restart_count,
            }
        if reason is EndReason.CRASHED:
            lines = await self._last_lines(record)
            details |= {
                "reason": "out_of_memory" if record.oom_killed else "failed",
                "last_lines": lines,
                "hint": hint_for(record, lines),
            }
        await self.tell(_EVENTS[reason], record, **details, **more)

    async def _last_lines(self, record: BotRecord) -> list[str]:
        try:
            found = await self._runtime.logs(record.bot, lines=LAST_LINES, since=None)
        except ENGINE_TROUBLE as error:
            logger.warning("the last lines of %s cannot be read: %s", record.name, error)
            return []
        return clean_last_lines(record, found[1].text) if found else []
