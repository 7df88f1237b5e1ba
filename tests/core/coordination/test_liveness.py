"""Who is alive is told by counted-up presences and this process's own clock, and by nothing else."""

import pytest

from bot_runner_worker.coordination import liveness
from bot_runner_worker.coordination.liveness import PRESENCE_SECONDS, Census
from bot_runner_worker.model.identity import INSTANCE, PRESENCE_ROLE, ROLE

EVERY = PRESENCE_SECONDS / 6


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(liveness, "monotonic", made)
    return made


def presence(instance: str, number: int) -> dict[str, dict[str, str]]:
    return {f"presence-{instance}-{number}": {ROLE: PRESENCE_ROLE, INSTANCE: instance}}


def claim(instance: str) -> dict[str, dict[str, str]]:
    return {f"claim-{instance}": {ROLE: "claim", INSTANCE: instance}}


def watch(census: Census, clock: Clock, found: dict[str, dict[str, str]], seconds: float) -> None:
    """Look again and again at what does not change."""
    until = clock.now + seconds
    census.look(found)
    while clock.now < until:
        clock.now = min(clock.now + EVERY, until)
        census.look(found)


def test_a_presence_that_stays_the_same_is_that_of_a_dead_process(clock: Clock) -> None:
    census = Census()
    watch(census, clock, presence("a", 1), PRESENCE_SECONDS - 1)
    assert not census.is_dead("a")
    watch(census, clock, presence("a", 1), 1)
    assert census.is_dead("a")


def test_a_presence_that_counts_up_is_alive_for_ever(clock: Clock) -> None:
    census = Census()
    for number in range(100):
        # Both numbers are there for a moment at each renewal.
        census.look(presence("a", number) | presence("a", number + 1))
        watch(census, clock, presence("a", number + 1), PRESENCE_SECONDS / 2)
        assert not census.is_dead("a")


def test_a_claim_without_any_presence_is_that_of_a_dead_process(clock: Clock) -> None:
    census = Census()
    watch(census, clock, claim("a"), PRESENCE_SECONDS)
    assert census.is_dead("a")


def test_a_presence_that_is_removed_shows_no_life(clock: Clock) -> None:
    census = Census()
    watch(census, clock, presence("a", 1) | presence("a", 2) | claim("a"), PRESENCE_SECONDS / 2)
    watch(census, clock, presence("a", 2) | claim("a"), PRESENCE_SECONDS / 4)
    watch(census, clock, claim("a"), PRESENCE_SECONDS / 4)
    assert census.is_dead("a")


def test_time_without_looking_proves_nothing(clock: Clock) -> None:
    """The Engine was away for a minute: nobody could renew anything."""
    census = Census()
    watch(census, clock, presence("a", 1), PRESENCE_SECONDS / 2)
    clock.now += 60
    census.look(presence("a", 1))
    assert not census.is_dead("a")
    watch(census, clock, presence("a", 1), PRESENCE_SECONDS - 1)
    assert not census.is_dead("a")
    watch(census, clock, presence("a", 1), 1)
    assert census.is_dead("a")


def test_a_process_that_comes_back_is_alive(clock: Clock) -> None:
    census = Census()
    watch(census, clock, presence("a", 1), PRESENCE_SECONDS)
    census.look(presence("a", 2))
    assert not census.is_dead("a")


def test_a_condemned_process_is_dead_at_once_and_for_ever(clock: Clock) -> None:
    census = Census()
    census.condemn("a")
    census.look(presence("a", 1))
    assert census.is_dead("a")
    assert not census.is_dead("b")
