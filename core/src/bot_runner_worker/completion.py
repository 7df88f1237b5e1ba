"""Calls that are not left half-way."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(call: Coroutine[Any, Any, T]) -> T:
    """Await a call to its end, and only then let a cancellation through.

    The Engine goes on creating and starting whether anybody listens or not; undoing it meanwhile would race.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
