"""What the Engine's events say of a time: when a bot did not run, whether two of them ever did."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

NANOSECONDS = 1_000_000_000


def seconds_without(events: Sequence[Event]) -> float:
    """Seconds from the first death to the first start after it, by the Engine's own clock.

    Raises:
        ValueError: If there is no such pair.
    """
    died: int | None = None
    for event in _in_order(events):
        if event["Action"] == "die" and died is None:
            died = event["timeNano"]
        elif event["Action"] == "start" and died is not None:
            return float(event["timeNano"] - died) / NANOSECONDS
    raise ValueError("the Engine tells of no death with a start after it")


def most_at_once(events: Sequence[Event], running: Iterable[str] = ()) -> int:
    """The largest number of containers that ran at once.

    Args:
        events: Events of the containers in question.
        running: Those that ran before.
    """
    alive = set(running)
    most = len(alive)
    for event in _in_order(events):
        if event["Action"] == "start":
            alive.add(event["Actor"]["ID"])
        elif event["Action"] == "die":
            alive.discard(event["Actor"]["ID"])
        most = max(most, len(alive))
    return most


def _in_order(events: Sequence[Event]) -> list[Event]:
    return sorted(events, key=lambda event: int(event["timeNano"]))
