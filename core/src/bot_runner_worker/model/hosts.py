"""Lists of host patterns: ``example.com``, ``*.example.com``, ``localhost:5000``."""

import re
from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator

_LABELS = r"[a-z0-9_*]([a-z0-9_.*-]*[a-z0-9_*])?"
_PATTERN = re.compile(rf"(?!.*\.\.)({_LABELS}|\[[0-9a-f:.]+\])(:\d{{1,5}})?|[0-9a-f]*:[0-9a-f:.]+")


def checked_pattern(text: str) -> str:
    """Check a pattern for hosts; returns it in lower case.

    Raises:
        ValueError: If it has a scheme, a path, or a character that no host has.
    """
    pattern = text.strip().lower()
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f"{text!r} is no host; write example.com, *.example.com or example.com:5000")
    return pattern


HostPattern = Annotated[str, AfterValidator(checked_pattern)]
"""A pydantic field with one entry of a list of hosts."""


class HostList:
    """A list of host patterns.

    ``*.example.com`` matches each host below it; ``*`` inside a name matches any part without a dot.

    Args:
        patterns: As :func:`checked_pattern` returns them.
    """

    def __init__(self, patterns: Collection[str]) -> None:
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._wild = [_compiled(pattern) for pattern in patterns if "*" in pattern]

    def __bool__(self) -> bool:
        return bool(self._exact or self._wild)

    def names(self, host: str) -> bool:
        """Whether the host is listed by its exact name."""
        return host in self._exact

    def covers(self, host: str) -> bool:
        """Whether the host is listed by name or by a pattern."""
        return self.names(host) or any(wild.fullmatch(host) for wild in self._wild)


def _compiled(pattern: str) -> re.Pattern[str]:
    head, rest = (".*", pattern[1:]) if pattern.startswith("*") else ("", pattern)
    return re.compile(head + "[^.]*".join(map(re.escape, rest.split("*"))))
