"""Requests of the older API as ours. Pure functions."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

TOKEN_HEADER = "X-Avtomatika-Token"  # noqa: S105 - the header's name


def initial_data(request: Mapping[str, Any], token: str) -> dict[str, Any]:
    """The ``initial_data`` of our API for a request that the older one has as its whole body.

    Actions and fields have the same names. The client makes a ``user_id`` of its own out of its token; that
    one stands for the user that the token belongs to here. Any other is passed on, and judged as always.

    Args:
        request: The body.
        token: What the client shows.
    """
    own = request.get("user_id") == made_up_user(token)
    return {name: value for name, value in request.items() if not (own and name == "user_id")}


def made_up_user(token: str) -> str:
    """The ``user_id`` that the published client makes out of its token."""
    return f"cli_{sha256(token.encode(errors='surrogateescape')).hexdigest()[:16]}"
