"""What the Engine's events tell about how containers ended."""

import time
from typing import Any

import pytest

from bot_runner_worker.bots import exit_history as module
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.engine.events import ContainerEvent


class Story:
    """Events of one container, each a little later than the one before."""

    def __init__(self, window: float = 600, grace: float = 30) -> None:
        self.exits = ExitHistory(window, grace)
        self.at = time.time() - 100

    def tell(self, action: str, *, after: float = 0.01, **attributes: str) -> ContainerEvent:
        self.at += after
        event = ContainerEvent(action, "id", self.at, attributes)
        self.exits.note(event)
        return event

    def fail(self, code: int = 1, **how: Any) -> ContainerEvent:
        event = self.tell("die", exitCode=str(code), **how)
        self.tell("start")
        return event

    @property
    def failures(self) -> int:
        return len(self.exits.failures("id"))


def test_failures_are_counted_and_ends_without_failure_are_not() -> None:
    story = Story()
    story.fail(1)
    story.fail(0)
    story.fail(137)
    assert story.failures == 2
    assert story.exits.failures("id")[-1].exit_code == 137
    assert story.exits.failures("another") == []


def test_an_end_after_a_signal_was_asked_for() -> None:
    story = Story()
    story.tell("kill", signal="15")
    story.tell("die", exitCode="143")
    assert story.failures == 0
    assert (last := story.exits.last("id")) is not None
    assert last.asked_for


def test_a_signal_that_a_bot_survives_does_not_excuse_it_for_ever() -> None:
    story = Story(grace=30)
    story.tell("kill", signal="1")
    story.tell("die", exitCode="1", after=31)
    assert story.failures == 1


def test_a_signal_excuses_one_end_only() -> None:
    story = Story()
    story.tell("kill", signal="15")
    story.fail(143)
    story.fail(1)
    assert story.failures == 1


def test_events_that_are_told_again_count_once() -> None:
    story = Story()
    again = [story.fail(), story.fail()]
    for event in again:
        story.exits.note(event)
    assert story.failures == 2
    # And an old end told again is not taken for the last one.
    assert story.exits.last("id") is None


def test_failures_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(window=600)
    story.fail()
    story.fail(after=90)
    now = time.monotonic()
    monkeypatch.setattr(module, "monotonic", lambda: now + 550)
    assert story.failures == 1
    monkeypatch.setattr(module, "monotonic", lambda: now + 650)
    assert story.failures == 0


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_clock_that_jumps_makes_no_failure_older_or_younger(
    monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    story = Story()
    story.at = time.time()
    story.fail()
    story.at += jump
    real = time.time
    monkeypatch.setattr(module, "time", lambda: real() + jump)
    story.fail()
    assert story.failures == 2


def test_want_of_memory_is_told_by_its_event() -> None:
    story = Story()
    story.tell("oom")
    story.fail(1)
    story.fail(137)
    first, second = story.exits.failures("id")
    assert (first.oom_killed, second.oom_killed) == (True, False)


def test_want_of_memory_counts_whether_it_is_told_before_the_end_or_after() -> None:
    story = Story()
    story.tell("die", exitCode="137")
    story.tell("oom")
    assert (last := story.exits.last("id")) is not None
    assert last.oom_killed
    assert [each.oom_killed for each in story.exits.failures("id")] == [True]


def test_whoever_changes_what_a_bot_should_do_begins_to_count_anew() -> None:
    story = Story()
    story.fail()
    story.tell("update")
    assert story.failures == 0


def test_what_is_gone_is_forgotten() -> None:
    story = Story()
    story.fail()
    story.tell("kill")
    story.tell("die", exitCode="1")
    story.exits.keep({"another"})
    assert story.failures == 0
    assert story.exits.last("id") is None


def test_an_end_can_be_taken_for_somebody_elses_doing() -> None:
    story = Story()
    story.tell("die", exitCode="0")
    story.exits.interrupt("id")
    assert (last := story.exits.last("id")) is not None
    assert last.asked_for
    story.tell("start")
    assert story.exits.last("id") is None
