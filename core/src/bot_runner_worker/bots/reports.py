"""Telling the world what became of a bot: the events, and in them what its author needs to know."""

import logging
from typing import Any

from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.diagnosis import LAST_LINES, clean_last_lines, hint_for
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.engine import ENGINE_TROUBLE
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.events import EventType
from bot_runner_worker.model.spec import BotRecord

logger = logging.getLogger(__name__)

_EVENTS = {
    EndReason.STOPPED: EventType.STOPPED,
    EndReason.EXPIRED: EventType.EXPIRED,
    EndReason.EXITED: EventType.EXITED,
    EndReason.CRASHED: EventType.CRASHED,
    EndReason.DISK_LIMIT: EventType.STOPPED,
    EndReason.LOG_FLOOD: EventType.STOPPED,
}


class Reporter:
    """Tells of bots.

    Args:
        runtime: Where their logs are.
        announcer: Who is told.
    """

    def __init__(self, runtime: BotRuntime, announcer: Announcer) -> None:
        self._runtime = runtime
        self._announcer = announcer

    async def tell(self, kind: EventType, record: BotRecord, **details: Any) -> None:
        """Tell of something that happened to a bot."""
        await self._announcer.tell(kind, record, **details)

    async def ended(self, record: BotRecord, verdict: EndReason, **more: int) -> None:
        """Tell that a bot has ended for good.

        Args:
            record: The bot as it was when it was judged.
            verdict: Why.
            **more: Facts for the event.
        """
        details: dict[str, Any] = {"reason": verdict.name.lower()}
        if verdict is EndReason.STOPPED:
            # A stop on request needs none.
            details = {}
        if verdict in (EndReason.CRASHED, EndReason.EXITED):
            details |= {
                "exit_code": record.exit_code,
                "oom_killed": record.oom_killed,
                "restart_count": record.restart_count,
            }
        if verdict is EndReason.CRASHED:
            lines = await self._last_lines(record)
            details |= {
                "reason": "out_of_memory" if record.oom_killed else "failed",
                "last_lines": lines,
                "hint": hint_for(record, lines),
            }
        await self.tell(_EVENTS[verdict], record, **details, **more)

    async def _last_lines(self, record: BotRecord) -> list[str]:
        try:
            page = await self._runtime.logs(record, lines=LAST_LINES, since=None)
        except ENGINE_TROUBLE as error:
            logger.warning("the last lines of %s cannot be read: %s", record.name, error)
            return []
        return clean_last_lines(record, page.text)
