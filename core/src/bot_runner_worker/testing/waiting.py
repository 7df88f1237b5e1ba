"""Waiting in tests: for what must happen, and for what must not.

A limit says when something is broken, not how fast it should be; ``TEST_TIME_SCALE`` multiplies all of them,
for machines that are busy with other things. This module needs nothing but the standard library.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Callable
from typing import Any

SCALE = float(os.environ.get("TEST_TIME_SCALE", "1"))
"""What all limits are multiplied by."""

_PAUSE = 0.02
"""Seconds between two looks at first; they grow to ten times as much."""

Words = str | Callable[[], object]


async def until(condition: Callable[[], Any], within: float = 30, what: Words = "") -> Any:
    """Wait for a condition, and return what it came to.

    Args:
        condition: Called again and again until what it returns is true; an awaitable is awaited. What it
            raises is raised.
        within: Seconds, multiplied by :data:`SCALE`.
        what: What is waited for; or a function, which is called when the time is up.

    Raises:
        AssertionError: When the time is up, with what was waited for and the last value.
    """
    end = time.monotonic() + within * SCALE
    pause = _PAUSE
    while True:
        last = condition()
        if inspect.isawaitable(last):
            last = await last
        if last:
            return last
        if time.monotonic() > end:
            raise AssertionError(_complaint(condition, within, what, last))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _PAUSE * 10)


def until_sync(condition: Callable[[], Any], within: float = 30, what: Words = "") -> Any:
    """As :func:`until`, for tests without an event loop."""
    end = time.monotonic() + within * SCALE
    pause = _PAUSE
    while not (last := condition()):
        if time.monotonic() > end:
            raise AssertionError(_complaint(condition, within, what, last))
        time.sleep(pause)
        pause = min(pause * 1.5, _PAUSE * 10)
    return last


async def stays(condition: Callable[[], Any], during: float, what: Words = "") -> None:
    """Watch a condition that must not end: the way to show that nothing happens.

    Args:
        condition: As for :func:`until`.
        during: Seconds. They are not scaled: whoever shows that nothing happens chooses how long to look.
        what: What must stay so.

    Raises:
        AssertionError: As soon as it is not true any more.
    """
    begun = time.monotonic()
    while True:
        last = condition()
        if inspect.isawaitable(last):
            last = await last
        if not last:
            raise AssertionError(
                f"it ended after {time.monotonic() - begun:.1f} s: {_words(condition, what)}"
            )
        if time.monotonic() > begun + during:
            return
        await asyncio.sleep(min(_PAUSE * 5, during / 5))


def _complaint(condition: Callable[[], Any], within: float, what: Words, last: object) -> str:
    return f"not within {within * SCALE:g} s: {_words(condition, what)}; the last value is {last!r}"


def _words(condition: Callable[[], Any], what: Words) -> object:
    said = what() if callable(what) else what
    return said or getattr(condition, "__name__", condition)
