"""Calls that do not come back: who waits for whom, and for how long."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class Calls:
    """The calls that are under way."""

    def __init__(self) -> None:
        self._begun: dict[object, tuple[str, float]] = {}

    @contextmanager
    def under_way(self, name: str) -> Iterator[None]:
        """Count a call in while the block runs."""
        key = object()
        self._begun[key] = (name, monotonic())
        try:
            yield
        finally:
            del self._begun[key]

    def longer_than(self, seconds: float) -> list[tuple[str, float]]:
        """Names and seconds of the calls that have taken longer than that, the longest first."""
        now = monotonic()
        ages = [(name, now - begun) for name, begun in self._begun.values()]
        return sorted((each for each in ages if each[1] > seconds), key=lambda each: -each[1])
