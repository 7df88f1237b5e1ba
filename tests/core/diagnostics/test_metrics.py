"""The metrics count what happens, and hold nothing that a user could choose."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import MakeRunner, RunnerUnderTest, ignore_progress

from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.tasks.outcome import Ending, Outcome


def values(metrics: Metrics, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The samples of one name, by the values of these labels."""
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if sample.name == name
    }


def failed(code: str) -> Outcome:
    return Outcome(Ending.REJECTED, {"error": {"code": code}})


STARTED = Outcome(Ending.SUCCESS, {"status": "started"})


@pytest.mark.parametrize(
    ("params", "outcome", "labels"),
    [
        ({"deployment_mode": "simple"}, STARTED, ("simple", "started")),
        ({"deployment_mode": "simple"}, failed("QUOTA_EXCEEDED"), ("simple", "QUOTA_EXCEEDED")),
        ({"deployment_mode": "alice's own"}, failed("X"), ("other", "X")),
        ({"deployment_mode": ["simple"]}, failed("X"), ("other", "X")),
        ("no params at all", failed("X"), ("other", "X")),
        ({"deployment_mode": "simple"}, failed("a code of a plugin: alice"), ("simple", "other")),
    ],
)
def test_starts_are_counted_by_mode_and_result(
    params: Any, outcome: Outcome, labels: tuple[str, str]
) -> None:
    metrics = Metrics(["simple"])
    metrics.task_ended("start_bot", params, outcome, 0.3)
    assert values(metrics, "bot_runner_starts_total", "mode", "result") == {labels: 1}
    tasks = values(metrics, "bot_runner_task_seconds_count", "task", "ending")
    assert tasks == {("start_bot", outcome.ending.value): 1}


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "out_of_memory"}, "out_of_memory"),
        ({}, ""),
        ({"reason": "No module named 'secret'"}, "other"),
    ],
)
async def test_what_happens_to_bots_is_counted_by_reason(details: dict[str, Any], reason: str) -> None:
    metrics = Metrics()
    event = BotEvent(EventType.CRASHED, BotKey("alice", "bot"), "simple", datetime.now(UTC), details)
    await metrics.event_happened(event)
    assert values(metrics, "bot_runner_bot_events_total", "event", "reason") == {("bot_crashed", reason): 1}
    assert "alice" not in metrics.text().decode()


@pytest.mark.slow
async def test_a_real_start_is_measured_stage_by_stage(make_runner: MakeRunner) -> None:
    metrics = Metrics(["simple"])
    runner = await make_runner()
    runner.runner._task_runner._observer = metrics
    await started(runner)
    counted = values(metrics, "bot_runner_start_stage_seconds_count", "stage")
    assert counted == {(stage,): 1 for stage in ("prepare", "resolve", "options", "start")}
    stages = values(metrics, "bot_runner_start_stage_seconds_sum", "stage")
    (whole,) = values(metrics, "bot_runner_task_seconds_sum", "task").values()
    assert 0 < sum(stages.values()) <= whole


async def started(runner: RunnerUnderTest) -> None:
    params = {"user_id": "alice", "bot_id": "bot", "deployment_mode": "simple", "code": "print()"}
    outcome = await runner.runner.run_task("start_bot", params, ignore_progress)
    assert outcome.ending is Ending.SUCCESS, outcome.data
