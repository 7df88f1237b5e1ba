"""What plugins did wrong since the worker began: counted, and named on the health endpoint."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot_runner_worker.model.results import timestamp

MAX_KINDS = 100


@dataclass(slots=True)
class _Trouble:
    count: int = 0
    last_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class PluginErrors:
    """Counts by plugin, hook, and what went wrong there."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], _Trouble] = {}

    def note(self, plugin: str, hook: str, what: str) -> None:
        """Count one in.

        Args:
            plugin: The plugin's name.
            hook: What it was asked.
            what: A few words that repeat when it happens again, without anything of the request.
        """
        key = (plugin, hook, what)
        if key not in self._found and len(self._found) >= MAX_KINDS:
            key = (plugin, hook, "further trouble")
        trouble = self._found.setdefault(key, _Trouble())
        trouble.count += 1
        trouble.last_at = datetime.now(UTC)

    def report(self) -> list[dict[str, Any]]:
        """All of them, the latest first, as JSON-ready data."""
        latest = sorted(self._found.items(), key=lambda each: each[1].last_at, reverse=True)
        return [
            {
                "plugin": plugin,
                "hook": hook,
                "trouble": what,
                "count": trouble.count,
                "last_at": timestamp(trouble.last_at),
            }
            for (plugin, hook, what), trouble in latest
        ]
