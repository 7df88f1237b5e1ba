"""`start` and `restart`: what is sent, what is shown meanwhile, and what is said about the bot afterwards."""

import json
import signal
from pathlib import Path

import pytest
from tests.cli.conftest import Run, Spawn
from tests.cli.fake_orchestrator import STARTED, FakeOrchestrator, bot, failed, finished, logs, running

from bot_runner_worker.testing.waiting import until_sync


def test_a_bot_that_stays_up_is_reported_as_running(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    result = run("start", "shop", "--simple", bot_file)
    assert result.exit_code == 0
    assert result.stdout.startswith("shop runs (")
    assert orchestrator.started["bot_id"] == "shop"


def test_the_stages_are_shown_once_each_on_stderr(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers(
        "start",
        running("Installing packages"),
        running("Downloading 1.5 MB", 0.2),
        running("Downloading 7 MB", 0.9),
        running("Starting the container"),
        STARTED,
    )
    stderr = run("start", "shop", "--simple", bot_file).stderr
    assert [line for line in stderr.splitlines() if "Watching" not in line] == [
        "Starting shop",
        "Installing packages",
        "Downloading 1.5 MB",
        "Starting the container",
    ]


def test_json_is_the_result_and_nothing_else_on_stdout(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    result = run("start", "shop", "--simple", bot_file, "--json")
    data = json.loads(result.stdout)
    assert (data["status"], data["container_name"], data["bot_status"]) == (
        "started",
        "bot-default-shop-1",
        "running",
    )


def test_replacing_and_limits_are_asked_for(run: Run, orchestrator: FakeOrchestrator, bot_file: Path) -> None:
    run(
        "start",
        "shop",
        "--simple",
        bot_file,
        "--replace",
        "--memory",
        "1.5g",
        "--cpu",
        "0.25",
        "--pids",
        "32",
    )
    assert orchestrator.started["replace"] is True
    assert orchestrator.started["resource_limits"] == {"memory_mb": 1536, "cpu_cores": 0.25, "pids": 32}


def test_nothing_is_asked_for_that_was_not_given(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    run("start", "shop", "--simple", bot_file)
    assert set(orchestrator.started) == {
        "action",
        "bot_id",
        "deployment_mode",
        "files",
        "requirements",
        "entrypoint",
    }


def test_memory_without_a_unit_is_too_little(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    result = run("start", "shop", "--simple", bot_file, "--memory", "128")
    assert result.exit_code == 2
    assert "128m" in result.stderr
    assert not orchestrator.submitted


@pytest.mark.parametrize("options", [("--cpu", "nan"), ("--cpu", "inf"), ("-e", "A=\udcff")])
def test_what_json_cannot_carry_is_a_mistake_in_usage(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path, options: tuple[str, ...]
) -> None:
    result = run("start", "shop", "--simple", bot_file, *options)
    assert result.exit_code == 2
    assert "JSON cannot carry" in result.stderr


def test_what_was_replaced_and_the_notes_are_told(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    data = {**STARTED["result"], "replaced": True, "notes": ["No Dockerfile: one was made."]}
    orchestrator.answers("start", finished(**data))
    result = run("start", "shop", "--simple", bot_file)
    assert "shop runs in place of the old one" in result.stdout
    assert "No Dockerfile: one was made." in result.stderr


def test_a_bot_that_runs_already_is_not_watched_long(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("start", finished(**{**STARTED["result"], "status": "already_running"}))
    orchestrator.answers("status", bot(restart_count=4))
    result = run("start", "shop", "--simple", bot_file, "--watch", "3600")
    assert result.exit_code == 0
    assert "runs already" in result.stdout


def test_a_bot_that_keeps_failing_is_reported_with_exit_code_and_last_lines(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("status", bot("restarting", exit_code=1, restart_count=1))
    orchestrator.answers("logs", logs("Traceback (most recent call last):\nKeyError: 'BOT_TOKEN'\n"))
    result = run("start", "shop", "--simple", bot_file, "--watch", "30")
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "ended within seconds with exit code 1, and is started again and again" in result.stderr
    assert "  KeyError: 'BOT_TOKEN'" in result.stderr
    assert "--replace" in result.stderr


def test_a_bot_killed_for_its_memory_is_told_so(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("status", bot("crashed", exit_code=137, oom_killed=True))
    orchestrator.answers("logs", logs(status="crashed"))
    result = run("start", "shop", "--simple", bot_file)
    assert result.exit_code == 5
    assert "killed for using too much memory" in result.stderr
    assert "--memory" in result.stderr


def test_a_program_that_just_ends_is_no_running_bot(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("status", bot("exited", exit_code=0))
    orchestrator.answers("logs", logs("hello\n", status="exited"))
    result = run("start", "shop", "--simple", bot_file, "--json")
    assert result.exit_code == 5
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "BOT_DIED"
    assert error["details"]["exit_code"] == 0
    assert error["details"]["logs"] == "hello\n"


def test_a_restart_between_two_looks_is_noticed(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.then_answers("status", bot("running", restart_count=1))
    orchestrator.answers("logs", logs("boom\n"))
    result = run("start", "shop", "--simple", bot_file, "--watch", "30")
    assert result.exit_code == 5
    assert "boom" in result.stderr


def test_watching_can_be_left_out(run: Run, orchestrator: FakeOrchestrator, bot_file: Path) -> None:
    result = run("start", "shop", "--simple", bot_file, "--watch", "0")
    assert (result.exit_code, orchestrator.asked("status")) == (0, [])
    assert "shop was started" in result.stdout


def test_a_watch_that_fails_does_not_hide_that_the_bot_was_started(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("status", failed("ENGINE_UNAVAILABLE", "The Docker Engine does not answer."))
    result = run("start", "shop", "--simple", bot_file, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["bot_status"] is None
    assert "could not be watched" in result.stderr


def test_a_rejection_shows_message_hint_and_the_end_of_the_build_log(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    log = "Collecting nosuch\nERROR: No matching distribution found for nosuch"
    orchestrator.answers(
        "start",
        failed("BUILD_FAILED", "The build failed.", hint="Correct requirements.", details={"log": log}),
    )
    result = run("start", "shop", "--simple", bot_file)
    assert result.exit_code == 1
    for text in ("The build failed.", "Correct requirements.", "  ERROR: No matching distribution"):
        assert text in result.stderr


def test_the_error_of_the_worker_is_passed_on_whole_as_json(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers(
        "start",
        failed("BOT_ALREADY_RUNNING", "It runs.", hint="Use replace.", details={"a": 1}, stage="start"),
    )
    result = run("start", "shop", "--simple", bot_file, "--json")
    assert json.loads(result.stdout) == {
        "error": {
            "code": "BOT_ALREADY_RUNNING",
            "message": "It runs.",
            "hint": "Use replace.",
            "details": {"a": 1},
            "stage": "start",
        }
    }


def test_ctrl_c_cancels_the_start_and_says_so(
    spawn: Spawn, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("start", running("Installing packages"))
    process = spawn("start", "shop", "--simple", bot_file)
    assert process.stderr
    while "Installing" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert orchestrator.cancelled == ["job-1"]
    assert "The start of shop was cancelled." in stderr
    assert "Traceback" not in stderr


def test_ctrl_c_that_comes_too_late_says_so(
    spawn: Spawn, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.cancel_works = False
    orchestrator.answers("start", running("Starting the container"))
    process = spawn("start", "shop", "--simple", bot_file, "--json")
    assert process.stderr
    while "container" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    error = json.loads(stdout)["error"]
    assert error["code"] == "INTERRUPTED"
    assert "too late" in error["message"]


def test_ctrl_c_while_watching_leaves_the_bot_alone(
    spawn: Spawn, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    process = spawn("start", "shop", "--simple", bot_file, "--watch", "60")
    assert process.stderr
    while "Watching" not in process.stderr.readline():
        pass
    until_sync(lambda: orchestrator.asked("status"), what="the first look")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "was started" in stderr
    assert orchestrator.cancelled == []


def test_a_start_that_takes_too_long_is_cancelled(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("start", running("Installing packages"))
    result = run("start", "shop", "--simple", bot_file, "--timeout", "0.3")
    assert result.exit_code == 6
    assert "within 0.3 seconds" in result.stderr
    assert "The start of shop was cancelled." in result.stderr
    assert orchestrator.cancelled == ["job-1"]


def test_restart_is_watched_like_a_start(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("status", bot("crashed", exit_code=3))
    orchestrator.answers("logs", logs("boom\n", status="crashed"))
    result = run("restart", "shop")
    assert result.exit_code == 5
    assert "exit code 3" in result.stderr
    assert orchestrator.asked("restart") == [{"action": "restart", "bot_id": "shop"}]


def test_restart_does_not_count_restarts_of_the_past(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("status", bot(restart_count=7))
    assert run("restart", "shop").exit_code == 0
