"""What is decided about a bot, from the state of its containers alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot_runner_worker.bots.container_state import ContainerState, EngineRun
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.policy import Policy
from bot_runner_worker.bots.protocol import Action
from bot_runner_worker.engine.events import ContainerEvent
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import BotStatus
from bot_runner_worker.model.spec import BotRecord, EndReason
from bot_runner_worker.settings import Settings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SETTINGS = Settings.load(worker_token="x", retention_hours=2)
BOT = BotKey("user", "bot")
NAME = BOT.container_name(SETTINGS.runner_namespace)
FIXED = dict.fromkeys(("mode", "source", "image", "request_digest", "spec_digest"), "x")


def container(state: str = "running", **changes: Any) -> ContainerState:
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


def decide(
    *found: ContainerState,
    exits: ExitHistory | None = None,
    run: EngineRun | None = None,
    now: datetime = NOW,
) -> Action | None:
    policy = Policy(SETTINGS, exits or ExitHistory(600, 30))
    return policy.decide(BOT, found, run or EngineRun(), now)


def exits_of(*events: tuple[str, str]) -> ExitHistory:
    exits = ExitHistory(600, 30)
    for number, (action, code) in enumerate(events):
        # Long enough ago for the bot to be brought back at once.
        at = datetime.now().timestamp() - 60 + number / 100
        exits.note(ContainerEvent(action, "id", at, {"exitCode": code}))
    return exits


def test_a_bot_that_runs_is_left_alone() -> None:
    assert decide(container()) is None
    assert decide(container("restarting")) is None


@pytest.mark.parametrize(
    "changes", [{"state": "paused"}, {"connected": False}, {"state": "exited", "exit_code": 137}]
)
def test_what_should_run_and_does_not_is_revived(changes: dict[str, Any]) -> None:
    assert decide(container(**changes)) is Action.REVIVE


def test_exit_code_0_is_final() -> None:
    assert decide(container("exited")) is Action.ACCEPT_EXIT


def test_exit_code_0_after_a_signal_is_not() -> None:
    stopped = exits_of(("kill", ""), ("die", "0"))
    assert decide(container("exited"), exits=stopped) is Action.REVIVE


def test_exit_code_0_before_the_engine_began_is_not() -> None:
    run = EngineRun("2", NOW - HOUR)
    assert decide(container("exited", finished_at=NOW - 2 * HOUR), run=run) is Action.REVIVE
    assert decide(container("exited", finished_at=NOW - HOUR / 2), run=run) is Action.ACCEPT_EXIT


def test_a_bot_that_was_just_signalled_is_left_down_for_a_moment() -> None:
    """An Engine that ends would start it only to kill it."""
    exits = ExitHistory(600, 30)
    now = datetime.now().timestamp()
    exits.note(ContainerEvent("kill", "id", now, {}))
    exits.note(ContainerEvent("die", "id", now, {"exitCode": "143"}))
    assert decide(container("exited", exit_code=143), exits=exits) is Action.WAIT


def test_a_bot_that_failed_too_often_is_given_up() -> None:
    assert decide(container("restarting"), exits=exits_of(*[("die", "1")] * 4)) is None
    assert decide(container("restarting"), exits=exits_of(*[("die", "1")] * 5)) is Action.GIVE_UP
    # Whatever it does right now.
    assert decide(container(), exits=exits_of(*[("die", "1"), ("start", "")] * 5)) is Action.GIVE_UP


def test_failures_whose_events_were_lost_count_if_all_are_recent() -> None:
    young = NOW - timedelta(minutes=9)
    assert decide(container("restarting", restart_count=5, created_at=young)) is Action.GIVE_UP
    assert decide(container("restarting", restart_count=4, created_at=young)) is None
    assert decide(container("restarting", restart_count=5)) is None
    # A clock that was put back says nothing about how recent they are.
    assert decide(container("restarting", restart_count=5, created_at=NOW + HOUR)) is None


def test_a_bot_expires_at_its_deadline() -> None:
    assert decide(container(expires_at=NOW + timedelta(seconds=1), warned=True)) is None
    assert decide(container(expires_at=NOW)) is Action.EXPIRE
    assert decide(container("restarting", expires_at=NOW)) is Action.EXPIRE
    assert decide(container("exited", exit_code=1, expires_at=NOW)) is Action.EXPIRE
    # By then it had ended by itself.
    assert decide(container("exited", expires_at=NOW)) is Action.ACCEPT_EXIT


def test_a_clock_that_jumps_ahead_expires_what_is_due_and_one_that_jumps_back_does_nothing() -> None:
    assert decide(container(), now=NOW + 13 * HOUR) is Action.EXPIRE
    assert decide(container(), now=NOW - 48 * HOUR) is None
    ended = container("exited", end_reason=EndReason.STOPPED)
    assert decide(ended, now=NOW - 48 * HOUR) is None


def test_a_bot_is_warned_once_and_only_if_its_life_is_long_enough() -> None:
    near = NOW + timedelta(minutes=59)
    assert decide(container(expires_at=NOW + timedelta(minutes=61))) is None
    assert decide(container(expires_at=near)) is Action.WARN
    assert decide(container(expires_at=near, warned=True)) is None
    assert decide(container(expires_at=near, started_at=near - 2 * HOUR)) is Action.WARN
    assert decide(container(expires_at=near, started_at=near - 2 * HOUR + timedelta(seconds=1))) is None


def test_a_bot_with_an_end_reason_stays_down_and_is_removed_in_the_end() -> None:
    ended = container("exited", end_reason=EndReason.EXPIRED, expires_at=NOW)
    assert decide(ended) is None
    assert decide(ended, now=NOW + 2 * HOUR) is None
    assert decide(ended, now=NOW + 2 * HOUR + timedelta(seconds=1)) is Action.REMOVE
    assert (
        decide(container("exited", end_reason=EndReason.STOPPED, finished_at=None), now=NOW + 99 * HOUR)
        is None
    )


def test_an_end_that_was_not_finished_is() -> None:
    assert decide(container(end_reason=EndReason.EXPIRED)) is Action.FINISH
    assert decide(container("restarting", end_reason=EndReason.CRASHED)) is Action.FINISH


@pytest.mark.parametrize(
    "others",
    [
        [container(name=NAME + "-previous")],
        [container(name=NAME + "-next")],
        [container(name="renamed")],
        [container("created")],
        [container(), container("created", name=NAME + "-next", id="2")],
        [container(), container("exited", name=NAME + "-previous", id="2")],
    ],
)
def test_all_but_one_container_under_its_name_is_settled_first(others: list[ContainerState]) -> None:
    assert decide(*others) is Action.SETTLE


def test_of_nothing_there_is_nothing_to_do() -> None:
    assert decide() is None
