"""Events of bots, for plugins and the orchestrator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from bot_runner_worker.model.identity import BotKey


class EventType(StrEnum):
    """Kinds of events."""

    STARTED = "bot_started"
    CRASHED = "bot_crashed"
    EXITED = "bot_exited"
    STOPPED = "bot_stopped"
    EXPIRING = "bot_expiring"
    """Its time is nearly over."""
    EXPIRED = "bot_expired"
    REMOVED = "bot_removed"


@dataclass(frozen=True, slots=True)
class BotEvent:
    """An event of a bot.

    Args:
        type: What happened.
        bot: The bot.
        mode: The bot's deployment mode.
        at: When, with a time zone.
        details: Further facts, such as ``exit_code``.
    """

    type: EventType
    bot: BotKey
    mode: str
    at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)
