"""`logs`: what a bot has printed, once and as it comes."""

import json
import signal

import pytest
from tests.cli.conftest import Run, Spawn
from tests.cli.fake_orchestrator import FakeOrchestrator, HttpFault, failed, logs

from bot_runner_cli import follow
from bot_runner_worker.testing.waiting import until_sync


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(follow, "_LONGEST_PAUSE", 0.02)


def test_the_log_is_on_stdout_as_it_is(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("[bold]привет[/bold]\n" + "long " * 100))
    result = run("logs", "shop", "-n", "7", "--since", "2026-01-31T12:00:00Z")
    assert result.stdout == "[bold]привет[/bold]\n" + "long " * 100 + "\n"
    assert orchestrator.submitted == [
        {"action": "logs", "bot_id": "shop", "lines": 7, "since": "2026-01-31T12:00:00Z"}
    ]


def test_a_log_that_was_cut_is_told_so(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", {**logs("x\n"), "result": {**logs("x\n")["result"], "truncated": True}})
    assert "left out" in run("logs", "shop").stderr


def test_as_json_it_is_one_document(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("one\ntwo\n", since="later"))
    data = json.loads(run("logs", "shop", "--json").stdout)
    assert (data["logs"], data["next_since"]) == ("one\ntwo\n", "later")


def test_no_bot_is_exit_code_4(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", failed("BOT_NOT_FOUND", "There is no bot shop."))
    result = run("logs", "shop")
    assert result.exit_code == 4
    assert "There is no bot shop." in result.stderr


def test_following_goes_on_from_where_it_was_until_the_bot_ends(
    run: Run, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.answers("logs", logs("one\n", since="1"))
    orchestrator.then_answers("logs", logs("", since="1"))
    orchestrator.then_answers("logs", logs("two\n", since="2"))
    orchestrator.then_answers("logs", logs("three\n", status="crashed", since="3"))
    result = run("logs", "shop", "--follow", "-n", "5")
    assert result.exit_code == 0
    assert result.stdout == "one\ntwo\nthree\n"
    assert "shop is crashed" in result.stderr
    asked = orchestrator.asked("logs")
    assert [request.get("since") for request in asked] == [None, "1", "1", "2"]
    assert asked[0]["lines"] == 5


def test_following_as_json_is_one_line_a_chunk(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("one\n", since="1"))
    orchestrator.then_answers("logs", logs("two\n", status="exited", since="2"))
    lines = run("logs", "shop", "-f", "--json").stdout.splitlines()
    assert [json.loads(line)["logs"] for line in lines] == ["one\n", "two\n"]


def test_following_survives_an_engine_that_is_away_for_a_moment(
    run: Run, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.answers("logs", logs("one\n", since="1"))
    orchestrator.then_answers("logs", failed("ENGINE_UNAVAILABLE"))
    orchestrator.then_answers("logs", logs("two\n", status="exited"))
    result = run("logs", "shop", "-f")
    assert (result.exit_code, result.stdout) == (0, "one\ntwo\n")
    assert orchestrator.asked("logs")[2]["since"] == "1"


def test_following_survives_a_lost_connection(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("one\n", status="exited"))
    orchestrator.faults = [HttpFault("GET", drop=True)]
    assert run("logs", "shop", "-f").stdout == "one\n"


def test_following_ends_when_the_bot_is_gone(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("one\n"))
    orchestrator.then_answers("logs", failed("BOT_NOT_FOUND"))
    result = run("logs", "shop", "-f")
    assert (result.exit_code, result.stdout) == (4, "one\n")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_ctrl_c_ends_following_without_a_word(
    spawn: Spawn, orchestrator: FakeOrchestrator, arguments: tuple[str, ...]
) -> None:
    orchestrator.answers("logs", logs("one\n", since="1"))
    orchestrator.then_answers("logs", logs("", since="1"))
    process = spawn("logs", "shop", "--follow", *arguments)
    assert process.stdout
    assert "one" in process.stdout.readline()
    until_sync(lambda: len(orchestrator.asked("logs")) > 1, what="the next look")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_a_reader_that_goes_away_is_no_error(spawn: Spawn, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("x" * 200_000 + "\n"))
    process = spawn("logs", "shop")
    assert process.stdout
    assert process.stderr
    process.stdout.read(10)
    process.stdout.close()
    stderr = process.stderr.read()
    process.wait(timeout=20)
    assert "Traceback" not in stderr
    assert "BrokenPipe" not in stderr
