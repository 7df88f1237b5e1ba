"""What every kind of source comes down to."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """A source that is ready to be sent.

    Attributes:
        params: ``deployment_mode`` and the mode's own params.
        notes: What the user should know, such as files that were left out.
        secrets: Values among the params that must never be printed.
    """

    params: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
