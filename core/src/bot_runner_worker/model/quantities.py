"""Sizes in Docker's notation: ``256m``, ``1g`` or bytes, in powers of 1024."""

import re
from typing import Annotated

from pydantic import BeforeValidator

MIB = 1024 * 1024
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b)?\s*", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(value: object) -> int:
    """Parse a size such as ``256m``.

    Args:
        value: A number of bytes, or text with an optional unit b, k, m, g or t (case does not matter).

    Returns:
        The size in bytes.

    Raises:
        ValueError: If it is anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a size is a number with an optional unit, such as 256m, 1g or 268435456")
    number, unit = match.groups()
    return int(float(number) * 1024 ** _POWERS.get((unit or "").lower(), 0))


def format_size(size: int) -> str:
    """Format a number of bytes: ``268435456`` becomes ``256 MiB``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if amount == int(amount) else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")


Size = Annotated[int, BeforeValidator(parse_size)]
"""A pydantic field in bytes that also reads ``256m``."""
