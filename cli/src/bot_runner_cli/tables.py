"""Results for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

_COLOURS = {
    "running": "green",
    "starting": "cyan",
    "restarting": "yellow",
    "exited": "yellow",
    "expired": "yellow",
    "crashed": "red",
    "stopped": "dim",
}
# From so many seconds on, count in units of so many.
_UNITS = ((2 * 86400, 86400, "d"), (2 * 3600, 3600, "h"), (2 * 60, 60, "min"), (0, 1, "s"))


def bots_table(data: Mapping[str, Any], now: datetime) -> Table:
    """The rows of ``list``."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("BOT", "STATUS", "MODE", "STARTED", "EXPIRES"):
        table.add_column(heading, no_wrap=True, overflow="fold")
    for bot in data.get("bots") or []:
        table.add_row(
            Text(str(bot.get("bot_id", ""))),
            status_text(bot.get("status")),
            Text(str(bot.get("mode", ""))),
            relative(bot.get("started_at"), now),
            relative(bot.get("expires_at"), now),
        )
    return table


def bot_card(bot: Mapping[str, Any], now: datetime) -> Table:
    """The fields of ``status`` that say something."""
    card = Table(box=None, pad_edge=False, show_header=False)
    card.add_column(style="dim", no_wrap=True)
    card.add_column(overflow="fold")

    def row(name: str, value: object) -> None:
        if value not in (None, "", False):
            card.add_row(name, value if isinstance(value, Text) else Text(str(value)))

    row("bot", bot.get("bot_id"))
    row("status", status_text(bot.get("status")))
    row("reason", bot.get("reason"))
    row("hint", bot.get("hint"))
    row("mode", bot.get("mode"))
    row("image", bot.get("image"))
    row("container", bot.get("container_name"))
    row("started", moment(bot.get("started_at"), now))
    row("expires", moment(bot.get("expires_at"), now))
    row("restarts", bot.get("restart_count") or None)
    # 0 says something only of a bot that has ended.
    row("exit code", None if bot.get("status") == "running" else bot.get("exit_code"))
    row("out of memory", "yes" if bot.get("oom_killed") else None)
    return card


def status_text(status: object) -> Text:
    """A status in its colour."""
    return Text(str(status or "unknown"), style=_COLOURS.get(str(status), ""))


def moment(timestamp: object, now: datetime) -> str:
    """``2026-01-31 12:00:00 UTC (5 min ago)``; empty for no time, the text itself if it is none."""
    time = _parse(timestamp)
    if time is None:
        return str(timestamp or "")
    return f"{time:%Y-%m-%d %H:%M:%S} UTC ({relative(timestamp, now)})"


def relative(timestamp: object, now: datetime) -> str:
    """``5 min ago`` or ``in 23 h``; empty for no time, the text itself if it is none."""
    time = _parse(timestamp)
    if time is None:
        return str(timestamp or "")
    seconds = int((time - now).total_seconds())
    distance = abs(seconds)
    size, unit = next((size, unit) for least, size, unit in _UNITS if distance >= least)
    amount = f"{distance // size} {unit}"
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


def _parse(timestamp: object) -> datetime | None:
    if not isinstance(timestamp, str):
        return None
    try:
        time = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
