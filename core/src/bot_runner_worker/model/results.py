"""What the tasks answer; the field names are a contract with existing clients."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class BotStatus(StrEnum):
    """Where a bot is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    """Ended by itself with exit code 0; it is not restarted."""
    CRASHED = "crashed"
    """Given up after it kept failing."""
    EXPIRED = "expired"
    """Stopped because its time was over."""
    STOPPED = "stopped"

    @property
    def is_live(self) -> bool:
        """Whether the bot runs or is about to; live bots count against the tenant's limit."""
        return self in (BotStatus.STARTING, BotStatus.RUNNING, BotStatus.RESTARTING)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds: ``2026-01-31T12:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Result:
    """Base of all results."""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Started(Result):
    """Answer to ``start_bot`` and ``restart_bot``.

    ``status`` is ``started`` or ``already_running``.
    """

    status: str
    container_id: str
    container_name: str
    started_at: str
    expires_at: str
    image: str
    mode: str
    replaced: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stopped(Result):
    """Answer to ``stop_bot``; ``status`` is ``stopped`` or ``not_found``."""

    status: str
    container_name: str


@dataclass(frozen=True, slots=True)
class Logs(Result):
    """Answer to ``get_logs``; pass ``next_since`` back as ``since`` to follow."""

    status: str
    logs: str
    container_status: str
    truncated: bool
    next_since: str


@dataclass(frozen=True, slots=True)
class BotRow(Result):
    """One bot in ``list_bots``."""

    bot_id: str
    status: str
    container_id: str
    container_name: str
    started_at: str
    expires_at: str
    mode: str


@dataclass(frozen=True, slots=True)
class BotList(Result):
    """Answer to ``list_bots``; ``count`` counts the rows."""

    bots: list[BotRow]
    count: int
    max_bots: int


@dataclass(frozen=True, slots=True)
class StatusReport(Result):
    """Answer to ``check_status``.

    Without a bot ``exists`` is false and the rest is empty. For a bot that died, ``hint`` says what to do and
    ``last_lines`` are its last words without its secrets.
    """

    exists: bool
    bot_id: str
    status: str = ""
    container_id: str = ""
    container_name: str = ""
    started_at: str = ""
    expires_at: str = ""
    mode: str = ""
    image: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    restart_count: int = 0
    reason: str = ""
    hint: str = ""
    last_lines: list[str] = field(default_factory=list)
