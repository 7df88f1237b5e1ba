"""Which events are sent. Pure functions."""

from collections.abc import Mapping
from typing import Any, Self

BOT_EVENTS = (
    "bot_started",
    "bot_crashed",
    "bot_exited",
    "bot_stopped",
    "bot_expiring",
    "bot_expired",
    "bot_removed",
)
DEFAULT_SELECTION = "bot_crashed,bot_exited,bot_expiring,bot_expired,bot_stopped:reason"

_WITH_REASON = ":reason"
_ALL = "all"


class EventSelection:
    """The operator's choice of events.

    Args:
        types: Event types that are always sent.
        with_reason: Event types that are sent if they have a ``reason``: one that its user stops has none.
    """

    def __init__(self, types: frozenset[str], with_reason: frozenset[str] = frozenset()) -> None:
        self._types = types
        self._with_reason = with_reason

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list such as ``bot_crashed,bot_stopped:reason``; ``all`` stands for every type.

        Raises:
            ValueError: There is no such type; the text says which there are.
        """
        words = {word for part in text.split(",") if (word := part.strip())}
        known = {*BOT_EVENTS, *(name + _WITH_REASON for name in BOT_EVENTS), _ALL}
        if unknown := sorted(words - known):
            raise ValueError(
                f"there is no {unknown[0]!r}; use {', '.join(BOT_EVENTS)}, with {_WITH_REASON} behind a name "
                f"for those with a reason only, or {_ALL}"
            )
        if _ALL in words:
            return cls(frozenset(BOT_EVENTS))
        with_reason = {word.removesuffix(_WITH_REASON) for word in words if word.endswith(_WITH_REASON)}
        return cls(frozenset(words & set(BOT_EVENTS)), frozenset(with_reason))

    def has(self, event_type: str, payload: Mapping[str, Any]) -> bool:
        """Whether this event is to be sent."""
        return event_type in self._types or (event_type in self._with_reason and bool(payload.get("reason")))
