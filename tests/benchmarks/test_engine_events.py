"""What the Engine's events say of a replacement."""

from typing import Any

import pytest
from benchmarks.engine_events import most_at_once, seconds_without


def event(action: str, container: str, milliseconds: int) -> dict[str, Any]:
    return {"Action": action, "Actor": {"ID": container}, "timeNano": milliseconds * 1_000_000}


def test_the_gap_reaches_from_the_death_to_the_next_start() -> None:
    events = [event("start", "new", 500), event("die", "old", 100), event("start", "older", 50)]
    assert seconds_without(events) == pytest.approx(0.4)


def test_without_a_start_there_is_no_gap() -> None:
    with pytest.raises(ValueError, match="no death"):
        seconds_without([event("die", "old", 100)])


def test_a_new_one_that_starts_before_the_old_one_is_dead_makes_two() -> None:
    overlapping = [event("start", "new", 100), event("die", "old", 101)]
    in_order = [event("die", "old", 100), event("start", "new", 101)]
    assert most_at_once(overlapping, ["old"]) == 2
    assert most_at_once(in_order, ["old"]) == 1
