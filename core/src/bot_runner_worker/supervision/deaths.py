"""Bots that died by themselves, each death announced once."""

from collections.abc import Iterable

from bot_runner_worker.events import EventType
from bot_runner_worker.results import BotStatus
from bot_runner_worker.runtime.spec import BotRecord
from bot_runner_worker.tasks.announcements import Announcer

_DEATHS = {BotStatus.CRASHED: EventType.CRASHED, BotStatus.EXITED: EventType.EXITED}


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
