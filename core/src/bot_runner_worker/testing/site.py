"""What the params of a case can be made from: addresses and names that are known only when it is tried."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Site:
    """Where a case is tried.

    Args:
        sources: The fixture ``source_server``, whatever a test suite made of it.
        base_image: The name of the base image, which every runner may use.
    """

    sources: Any
    base_image: str


Params = Mapping[str, Any] | Callable[[Site], Mapping[str, Any]]
"""Params of ``start_bot`` besides ``user_id`` and ``bot_id``, or what makes them."""


def params_at(site: Site, params: Params) -> dict[str, Any]:
    """The params of a case."""
    return dict(params(site) if callable(params) else params)
