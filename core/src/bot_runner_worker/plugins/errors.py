"""Errors of plugins: those that end a request, and counts for the health endpoint."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable
from bot_runner_worker.model.results import timestamp

HINT = "This is a fault of the plugin, not of the request; report it to the operator."

MAX_TEXT = 2_000
MAX_DETAILS = 64 * 1024
MAX_KINDS = 100

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def plugin_failed(plugin: str, hook: str, what: str, **details: Any) -> Rejected:
    """The error of a request whose plugin failed.

    Args:
        plugin: The plugin's name.
        hook: The hook's name.
        what: A predicate, such as ``did not answer``.
        details: Further details for programs.
    """
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin {plugin} {what}.",
        hint=HINT,
        details={"plugin": plugin, "hook": hook, **details},
    )


def wrong_type(plugin: str, hook: str, answer: object) -> Rejected:
    """The error of a request whose plugin answered with another type than the hook's."""
    kind = type(answer).__name__[:100]
    return plugin_failed(plugin, hook, f"returned {kind} from {hook}", type=kind)


def bounded(error: BotRunnerError) -> BotRunnerError:
    """The error that a plugin raised on purpose, cut to what a client can be sent."""
    kind = Unavailable if isinstance(error, Unavailable) else Rejected
    code = error.code if _CODE.fullmatch(error.code) else Code.PLUGIN_FAILED
    plain = kind(
        code,
        _text(error.message),
        hint=_text(error.hint),
        details=_details(error.details),
        stage=_text(error.stage),
    )
    if plain.to_dict() == error.to_dict():
        return error
    plain.__cause__ = error
    return plain


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} …"


def _details(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return {"omitted": "details that are no JSON"}
    if len(text) > MAX_DETAILS:
        return {"omitted": f"details of more than {MAX_DETAILS // 1024} KiB"}
    return value


class PluginErrors:
    """Counts errors by plugin, hook and kind since the worker began."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], tuple[int, datetime]] = {}

    def note(self, plugin: str, hook: str, kind: str) -> None:
        """Count one.

        Args:
            plugin: The plugin's name.
            hook: The hook's name.
            kind: A few words that are the same each time, without anything of the request.
        """
        key = (plugin, hook, kind)
        if key not in self._found and len(self._found) >= MAX_KINDS:
            key = (plugin, hook, "further trouble")
        count, _ = self._found.get(key, (0, None))
        self._found[key] = (count + 1, datetime.now(UTC))

    def report(self) -> list[dict[str, Any]]:
        """All errors, the latest first, as JSON-ready data."""
        latest = sorted(self._found.items(), key=lambda each: each[1][1], reverse=True)
        return [
            {
                "plugin": plugin,
                "hook": hook,
                "trouble": kind,
                "count": count,
                "last_at": timestamp(last_at),
            }
            for (plugin, hook, kind), (count, last_at) in latest
        ]
