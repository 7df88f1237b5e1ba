"""Redaction of everything that leaves the worker: no secret, and nothing that rewrites what a reader sees."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

MASK = "***"
_SHORTEST = 5  # "1", "true" or "prod" are no secrets, and messages without them would be unreadable

_CONTROL = re.compile(
    # Escape sequences (ECMA-48, with ESC or its 8-bit form), then the other control characters, C1 among
    # them; tabs and line ends are harmless.
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f"
    # What reorders text (UAX #9; CVE-2021-42574), and line ends that only some programs know.
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]"
)


def without_controls(text: str) -> str:
    """``text`` without what could rewrite or reorder what a reader sees, on a terminal or a page."""
    # Nearly all lines are printable; looking for that is quicker than looking for what to leave out.
    return text if text.isprintable() else _CONTROL.sub("", text)


class Redactor:
    """Replaces known secret values, also in encodings that are common in messages, and drops controls.

    Args:
        secrets: The literal values.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        needles: set[str] = set()
        for secret in secrets:
            # A secret of several lines may be printed line by line.
            for part in {secret, *secret.splitlines()}:
                if len(part.strip()) >= _SHORTEST:
                    needles |= {
                        part,
                        quote(part, safe=""),
                        quote_plus(part),
                        base64.b64encode(part.encode(errors="replace")).decode(),
                        part.encode("unicode_escape").decode(),
                    }

        self._needles = sorted(needles, key=len, reverse=True)

    def text(self, text: str) -> str:
        """``text`` with each secret replaced by ``***``, and without control characters."""
        hidden = self._hide(text)
        cleaned = without_controls(hidden)
        # A control character may have parted a secret.
        return cleaned if cleaned == hidden else self._hide(cleaned)

    def _hide(self, text: str) -> str:
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, MASK)
        return text

    def data(self, value: Any) -> Any:
        """JSON-like data with :meth:`text` applied to all its texts, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value


def looks_secret(name: str) -> bool:
    """Whether what stands where a name belongs may be a secret: a token, or an assignment of one."""
    parts = re.split(r"[^A-Za-z0-9]+", name)
    return len(name) >= 8 and (
        any(sign in name for sign in "=:@/+")
        or any(len(part) >= 24 or (len(part) >= 10 and re.search(r"\d", part)) for part in parts)
    )


def secrets_of(params: Any) -> set[str]:
    """The secrets in a task's params: its environment, what is named so, and what stands where it should not.

    The latter are names of fields and variables that look like a secret, and the user parts of addresses,
    wherever they are. Paths of files are no names.
    """
    found: set[str] = set()
    if isinstance(params, Mapping):
        for key, value in params.items():
            name = str(key).lower()
            if looks_secret(str(key)):
                found.add(str(key))
            if name == "env_vars" and isinstance(value, Mapping):
                found |= {text for text in value.values() if isinstance(text, str)}
                found |= {str(variable) for variable in value if looks_secret(str(variable))}
            elif any(word in name for word in ("password", "token", "secret", "auth")) and not isinstance(
                value, Mapping
            ):
                found |= {text for text in _listed(value) if isinstance(text, str)}
            # Content, and paths.
            elif name not in ("files", "code"):
                found |= secrets_of(value)
    elif isinstance(params, (list, tuple)):
        found = found.union(*map(secrets_of, params))
    elif isinstance(params, str):
        for rest in params.split("://")[1:]:
            found |= _secrets_of_address(rest)
    return found


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _secrets_of_address(rest: str) -> set[str]:
    """The secrets in what follows ``://``; text of any length and content is read once."""
    if not rest or rest[0].isspace():
        return set()
    # Tokens travel in the user part and in the query: git and pip print both.
    address = rest.split(maxsplit=1)[0]
    found = {value for _, value in parse_qsl(address.partition("?")[2])}
    # A password may hold an @ or / that should have been encoded.
    for user, at, _ in (address.partition("@"), address.rpartition("@")):
        if at and (":" in user or "/" not in user):
            found |= set(user.partition(":")[::2])
    return {text for part in found if part for text in (part, unquote(part))}
