"""Keeps the secrets that a command was given out of what it prints."""

from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"
# Values such as "1", "true" or "prod" are no secrets; blanking them out would make messages unreadable.
_SHORTEST = 5
# Texts that repeat what somebody else wrote. Ids and statuses are left alone: scripts compare them.
_FREE_TEXT = frozenset({"message", "hint", "details", "logs", "reason", "notes"})


class Redactor:
    """Replaces known secret values by ``***``."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def learn(self, secrets: Iterable[str]) -> None:
        """Keep these values out of everything from now on; a value of several lines, each of its lines."""
        for secret in secrets:
            self._secrets |= {
                part for part in (secret, *secret.splitlines()) if len(part.strip()) >= _SHORTEST
            }

    def text(self, text: str) -> str:
        """``text`` without the secrets."""
        # The longest first: one secret may be part of another.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def data(self, value: Any, *, free_text: bool = False) -> Any:
        """JSON-like data without the secrets in its free texts (messages, hints, details, logs, reasons)."""
        if isinstance(value, str):
            return self.text(value) if free_text else value
        if isinstance(value, Mapping):
            return {
                key: self.data(item, free_text=free_text or key in _FREE_TEXT) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.data(item, free_text=free_text) for item in value]
        return value
