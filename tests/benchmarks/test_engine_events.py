"""What the Engine's events say of a replacement."""

from typing import Any

import pytest
from benchmarks.rows.running import seconds_without


def event(action: str, container: str, milliseconds: int) -> dict[str, Any]:
    return {"Action": action, "Actor": {"ID": container}, "timeNano": milliseconds * 1_000_000}


def test_the_gap_reaches_from_the_death_to_the_next_start() -> None:
    events = [event("start", "new", 500), event("die", "old", 100), event("start", "older", 50)]
    assert seconds_without(events) == pytest.approx(0.4)


def test_without_a_start_there_is_no_gap() -> None:
    with pytest.raises(ValueError, match="no death"):
        seconds_without([event("die", "old", 100)])
