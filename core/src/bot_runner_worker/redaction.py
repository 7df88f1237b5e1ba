"""Redaction of secrets in everything that leaves the worker."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK = "***"
_SHORTEST = 5  # "1", "true" or "prod" are no secrets, and messages without them would be unreadable


class Redactor:
    """Replaces known secret values, also in encodings that are common in messages.

    Args:
        secrets: The literal values.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._needles: set[str] = set()
        for secret in secrets:
            # A secret of several lines may be printed line by line.
            for part in {secret, *secret.splitlines()}:
                if len(part.strip()) >= _SHORTEST:
                    self._needles |= {
                        part,
                        quote(part, safe=""),
                        quote_plus(part),
                        base64.b64encode(part.encode(errors="replace")).decode(),
                        part.encode("unicode_escape").decode(),
                    }

    def text(self, text: str) -> str:
        """``text`` with each secret replaced by ``***``."""
        for needle in sorted(self._needles, key=len, reverse=True):
            if needle in text:
                text = text.replace(needle, MASK)
        return text

    def data(self, value: Any) -> Any:
        """JSON-like data with each secret replaced in all its texts, keys included."""
        if not self._needles:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value


def secrets_of(params: Any) -> set[str]:
    """The secrets in a task's params: its environment, and what is named so."""
    found: set[str] = set()
    if isinstance(params, Mapping):
        for key, value in params.items():
            name = str(key).lower()
            if name == "env_vars" and isinstance(value, Mapping):
                found |= {text for text in value.values() if isinstance(text, str)}
            elif isinstance(value, str) and any(
                word in name for word in ("password", "token", "secret", "auth")
            ):
                found.add(value)
            elif isinstance(value, str) and "://" in value:
                found |= _secrets_of_url(value)
            else:
                found |= secrets_of(value)
    return found


def _secrets_of_url(url: str) -> set[str]:
    # Tokens travel in the user part and in the query: git and pip print both.
    try:
        parts = urlsplit(url)
        return {
            unquote(part)
            for part in (parts.username, parts.password, *(value for _, value in parse_qsl(parts.query)))
            if part
        }
    except ValueError:
        return set()
