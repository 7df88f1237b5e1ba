"""Looks keep to an interval, and to their share of the time."""

import pytest

from bot_runner_worker import aio
from bot_runner_worker.aio import DutyCycle


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(aio, "monotonic", clock)
    return clock


def test_the_first_look_is_due_at_once(clock: Clock) -> None:
    assert DutyCycle(10, 0.05).is_due()


def test_a_cheap_look_is_due_again_after_the_interval(clock: Clock) -> None:
    looks = DutyCycle(10, 0.05)
    looks.looked(0.01)
    clock.now += 9.9
    assert not looks.is_due()
    clock.now += 0.2
    assert looks.is_due()


def test_a_long_look_is_followed_by_a_long_pause(clock: Clock) -> None:
    looks = DutyCycle(10, 0.05)
    looks.looked(4)
    clock.now += 79
    assert not looks.is_due()
    clock.now += 2
    assert looks.is_due()


def test_a_look_out_of_turn_keeps_to_its_own_share(clock: Clock) -> None:
    looks = DutyCycle(10, 0.05)
    looks.looked(1)
    clock.now += 3.9
    assert not looks.is_due(0.25)
    clock.now += 0.2
    assert looks.is_due(0.25)
    assert not looks.is_due()
