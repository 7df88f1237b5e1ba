"""`stop`, `status` and `list`: answers for people, for programs, and as exit codes."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_orchestrator import FakeOrchestrator, bot, finished


def test_stop_says_that_the_bot_is_stopped(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("stop", finished(status="stopped", container_name="bot-1"))
    result = run("stop", "shop")
    assert (result.exit_code, result.stdout) == (0, "shop is stopped.\n")


def test_stop_of_no_bot_is_exit_code_4(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("stop", finished(status="not_found", container_name="bot-1"))
    result = run("stop", "shop", "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (4, "not_found")


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [("running", 0), ("starting", 0), ("restarting", 4), ("exited", 4), ("crashed", 4), ("expired", 4)],
)
def test_status_as_an_exit_code(
    run: Run, orchestrator: FakeOrchestrator, status: str, exit_code: int
) -> None:
    orchestrator.answers("status", bot(status))
    result = run("status", "shop")
    assert result.exit_code == exit_code
    assert status in result.stdout


def test_status_of_a_dead_bot_says_why(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers(
        "status",
        bot("crashed", exit_code=137, oom_killed=True, restart_count=5, reason="gave up after 5 restarts"),
    )
    words = run("status", "shop").stdout.split()
    assert {"crashed", "137", "5", "yes"} <= set(words)
    assert "gave up after 5 restarts" in " ".join(words)


def test_status_of_no_bot(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("status", finished(exists=False, bot_id="shop", status=""))
    result = run("status", "shop")
    assert (result.exit_code, result.stdout) == (4, "shop is not there.\n")


def test_list_shows_each_bot_whole_in_a_pipe(run: Run, orchestrator: FakeOrchestrator) -> None:
    now = datetime.now(UTC)
    rows = [
        {
            "bot_id": name,
            "status": "running",
            "mode": "simple",
            "started_at": (now - timedelta(minutes=5, seconds=30)).isoformat(),
            "expires_at": (now + timedelta(hours=23, minutes=30)).isoformat(),
        }
        for name in ("shop", "a-bot-with-a-very-long-name-" + "x" * 60, "[red]markup[/red]")
    ]
    orchestrator.answers("list", finished(bots=rows, count=3, max_bots=3))
    result = run("list")
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["shop", "running", "simple", "5", "min", "ago", "in", "23", "h"]
    assert rows[1]["bot_id"] in lines[2]
    assert "[red]markup[/red]" in lines[3]
    assert "At most 3" in result.stderr


def test_list_as_json_is_the_workers_data(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("list", finished(bots=[], count=0, max_bots=3))
    assert json.loads(run("list", "--json").stdout) == {"bots": [], "count": 0, "max_bots": 3}


def test_an_empty_list_says_how_to_begin(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("list", finished(bots=[], count=0, max_bots=3))
    assert "bot-runner start" in run("list").stdout


def test_a_front_end_can_act_for_a_user(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("list", finished(bots=[], count=0, max_bots=3))
    run("list", "--user", "alice")
    run("list")
    assert orchestrator.submitted == [{"action": "list", "user_id": "alice"}, {"action": "list"}]
