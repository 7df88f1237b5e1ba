"""What is to be done about a bot, from what is seen of it alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot_runner_worker.bots.container_state import ContainerState
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.policy import Action, Policy
from bot_runner_worker.bots.protocol import EngineRun
from bot_runner_worker.engine.events import ContainerEvent
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import BotStatus
from bot_runner_worker.model.spec import BotRecord
from bot_runner_worker.settings import Settings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SETTINGS = Settings.load(worker_token="x", retention_hours=2)
BOT = BotKey("user", "bot")
NAME = BOT.container_name(SETTINGS.runner_namespace)
FIXED = dict.fromkeys(("mode", "source", "image", "request_digest", "spec_digest"), "x")


def sighting(state: str = "running", **changes: Any) -> ContainerState:
    """A bot's container, by default 12 hours after its start and as long before its end."""
    seen = {"created_at": NOW - 12 * HOUR, "connected": True, "row": ()}
    seen |= {name: changes.pop(name) for name in list(changes) if name in seen}
    record: dict[str, Any] = {
        "status": BotStatus.RUNNING,
        "id": "id",
        "name": NAME,
        "started_at": NOW - 12 * HOUR,
        "expires_at": NOW + 12 * HOUR,
        "exit_code": 0 if state == "exited" else None,
        "finished_at": NOW if state == "exited" else None,
    }
    return ContainerState(BotRecord(BOT, **FIXED, **(record | changes)), state, **seen)


def step(
    *sightings: ContainerState,
    deaths: ExitHistory | None = None,
    run: EngineRun | None = None,
    now: datetime = NOW,
) -> Action | None:
    judge = Policy(SETTINGS, deaths or ExitHistory(600, 30))
    return judge.next_step(BOT, sightings, run or EngineRun(), now)


def deaths_of(*events: tuple[str, str]) -> ExitHistory:
    deaths = ExitHistory(600, 30)
    for number, (action, code) in enumerate(events):
        # Long enough ago for the bot to be brought back at once.
        at = datetime.now().timestamp() - 60 + number / 100
        deaths.note(ContainerEvent(action, "id", at, {"exitCode": code}))
    return deaths


def test_a_bot_that_runs_is_left_alone() -> None:
    assert step(sighting()) is None
    assert step(sighting("restarting")) is None


@pytest.mark.parametrize(
    "changes", [{"state": "paused"}, {"connected": False}, {"state": "exited", "exit_code": 137}]
)
def test_what_should_run_and_does_not_is_revived(changes: dict[str, Any]) -> None:
    assert step(sighting(**changes)) is Action.REVIVE


def test_exit_code_0_is_final() -> None:
    assert step(sighting("exited")) is Action.ACCEPT_EXIT


def test_exit_code_0_after_a_signal_is_not() -> None:
    stopped = deaths_of(("kill", ""), ("die", "0"))
    assert step(sighting("exited"), deaths=stopped) is Action.REVIVE


def test_exit_code_0_before_the_engine_began_is_not() -> None:
    run = EngineRun("2", NOW - HOUR)
    assert step(sighting("exited", finished_at=NOW - 2 * HOUR), run=run) is Action.REVIVE
    assert step(sighting("exited", finished_at=NOW - HOUR / 2), run=run) is Action.ACCEPT_EXIT


def test_a_bot_that_was_just_signalled_is_left_down_for_a_moment() -> None:
    """An Engine that ends would start it only to kill it."""
    deaths = ExitHistory(600, 30)
    now = datetime.now().timestamp()
    deaths.note(ContainerEvent("kill", "id", now, {}))
    deaths.note(ContainerEvent("die", "id", now, {"exitCode": "143"}))
    assert step(sighting("exited", exit_code=143), deaths=deaths) is Action.WAIT


def test_a_bot_that_failed_too_often_is_given_up() -> None:
    assert step(sighting("restarting"), deaths=deaths_of(*[("die", "1")] * 4)) is None
    assert step(sighting("restarting"), deaths=deaths_of(*[("die", "1")] * 5)) is Action.GIVE_UP
    # Whatever it does right now.
    assert step(sighting(), deaths=deaths_of(*[("die", "1"), ("start", "")] * 5)) is Action.GIVE_UP


def test_failures_whose_events_were_lost_count_if_all_are_recent() -> None:
    young = NOW - timedelta(minutes=9)
    assert step(sighting("restarting", restart_count=5, created_at=young)) is Action.GIVE_UP
    assert step(sighting("restarting", restart_count=4, created_at=young)) is None
    assert step(sighting("restarting", restart_count=5)) is None
    # A clock that was put back says nothing about how recent they are.
    assert step(sighting("restarting", restart_count=5, created_at=NOW + HOUR)) is None


def test_a_bot_expires_at_its_deadline() -> None:
    assert step(sighting(expires_at=NOW + timedelta(seconds=1), warned=True)) is None
    assert step(sighting(expires_at=NOW)) is Action.EXPIRE
    assert step(sighting("restarting", expires_at=NOW)) is Action.EXPIRE
    assert step(sighting("exited", exit_code=1, expires_at=NOW)) is Action.EXPIRE
    # By then it had ended by itself.
    assert step(sighting("exited", expires_at=NOW)) is Action.ACCEPT_EXIT


def test_a_clock_that_jumps_ahead_expires_what_is_due_and_one_that_jumps_back_does_nothing() -> None:
    assert step(sighting(), now=NOW + 13 * HOUR) is Action.EXPIRE
    assert step(sighting(), now=NOW - 48 * HOUR) is None
    ended = sighting("exited", verdict=EndReason.STOPPED)
    assert step(ended, now=NOW - 48 * HOUR) is None


def test_a_bot_is_warned_once_and_only_if_its_life_is_long_enough() -> None:
    near = NOW + timedelta(minutes=59)
    assert step(sighting(expires_at=NOW + timedelta(minutes=61))) is None
    assert step(sighting(expires_at=near)) is Action.WARN
    assert step(sighting(expires_at=near, warned=True)) is None
    assert step(sighting(expires_at=near, started_at=near - 2 * HOUR)) is Action.WARN
    assert step(sighting(expires_at=near, started_at=near - 2 * HOUR + timedelta(seconds=1))) is None


def test_a_bot_with_a_verdict_stays_down_and_is_removed_in_the_end() -> None:
    ended = sighting("exited", verdict=EndReason.EXPIRED, expires_at=NOW)
    assert step(ended) is None
    assert step(ended, now=NOW + 2 * HOUR) is None
    assert step(ended, now=NOW + 2 * HOUR + timedelta(seconds=1)) is Action.REMOVE
    assert step(sighting("exited", verdict=EndReason.STOPPED, finished_at=None), now=NOW + 99 * HOUR) is None


def test_a_verdict_that_was_not_carried_out_is() -> None:
    assert step(sighting(verdict=EndReason.EXPIRED)) is Action.FINISH
    assert step(sighting("restarting", verdict=EndReason.CRASHED)) is Action.FINISH


@pytest.mark.parametrize(
    "others",
    [
        [sighting(name=NAME + "-previous")],
        [sighting(name=NAME + "-next")],
        [sighting(name="renamed")],
        [sighting("created")],
        [sighting(), sighting("created", name=NAME + "-next", id="2")],
        [sighting(), sighting("exited", name=NAME + "-previous", id="2")],
    ],
)
def test_all_but_one_container_under_its_name_is_settled_first(others: list[ContainerState]) -> None:
    assert step(*others) is Action.SETTLE


def test_of_nothing_there_is_nothing_to_do() -> None:
    assert step() is None
