"""How the command finds the orchestrator, and what it does when that is busy, away or somebody else."""

import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_orchestrator import CLIENT_TOKEN, FakeOrchestrator, HttpFault, finished, running

from bot_runner_cli.jobs import Deadline

EMPTY = finished(bots=[], count=0, max_bots=3)


@pytest.fixture(autouse=True)
def no_bots(orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("list", EMPTY)


def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOT_RUNNER_URL")
    monkeypatch.delenv("BOT_RUNNER_TOKEN")


def test_the_other_names_of_the_settings_work_too(
    run: Run, orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset(monkeypatch)
    monkeypatch.setenv("AVTOMATIKA_URL", orchestrator.url + "/")
    monkeypatch.setenv("AVTOMATIKA_TOKEN", CLIENT_TOKEN)
    assert run("list").exit_code == 0


def test_options_win_and_may_stand_before_the_command_or_after_it(
    run: Run, orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_RUNNER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BOT_RUNNER_TOKEN", "wrong")
    given = ("--url", orchestrator.url, "--token", CLIENT_TOKEN, "--json")
    assert run("list", *given).exit_code == 0
    result = run(*given, "list")
    assert result.exit_code == 0
    json.loads(result.stdout)


def test_without_a_token_it_says_which_variable_to_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    unset(monkeypatch)
    result = run("list")
    assert result.exit_code == 3
    assert "BOT_RUNNER_TOKEN" in result.stderr


def test_a_wrong_token_is_exit_code_3(
    run: Run, orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_RUNNER_TOKEN", "wrong-token-98765")
    result = run("list", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["code"] == "UNAUTHORIZED"
    assert "wrong-token-98765" not in result.output


def test_a_token_with_a_line_break_is_refused_without_showing_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_RUNNER_TOKEN", "token-98765\nX-Other: 1")
    result = run("list")
    assert result.exit_code == 3
    assert "98765" not in result.output


def test_nobody_there_is_exit_code_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("BOT_RUNNER_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        result = run("list")
    assert result.exit_code == 3
    assert "does not answer" in result.stderr
    assert "BOT_RUNNER_URL" in result.stderr


def test_a_proxy_is_not_asked_for_an_orchestrator_on_this_machine(
    run: Run, orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert run("list").exit_code == 0


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://example.com", "http://", "http://host:99999", "http://[::1"]
)
def test_a_url_that_is_none_is_a_mistake_in_usage(run: Run, url: str) -> None:
    result = run("list", "--url", url)
    assert result.exit_code == 2
    assert "http://host:8000" in result.stderr


@pytest.mark.parametrize(
    "fault",
    [
        HttpFault("POST", 200, "<html>It works!</html>", {"content-type": "text/html"}),
        HttpFault("POST", 200, "[]"),
        HttpFault("POST", 202, "{}"),
        HttpFault("POST", 404, "404: Not Found", {"content-type": "text/plain"}),
        HttpFault("POST", 302, "", {"location": "https://login.example.com/"}),
    ],
)
def test_somebody_else_at_that_address_is_exit_code_3(
    run: Run, orchestrator: FakeOrchestrator, fault: HttpFault
) -> None:
    orchestrator.faults = [fault]
    result = run("list")
    assert result.exit_code == 3
    assert "is no orchestrator for bots" in result.stderr


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the command would have waited."""
    made: list[float] = []
    monkeypatch.setattr(Deadline, "sleep", lambda _, seconds: made.append(seconds))
    return made


def test_a_rate_limit_is_waited_for_as_long_as_asked(
    run: Run, orchestrator: FakeOrchestrator, pauses: list[float]
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    orchestrator.faults = [
        HttpFault("POST", 429, '{"error": "Too Many Requests"}', {"retry-after": "31"}),
        HttpFault("GET", 429, '{"error": "Too Many Requests"}', {"retry-after": "0"}),
        HttpFault("GET", 429, headers={"retry-after": moment}),
    ]
    assert run("list").exit_code == 0
    assert pauses[0] == 31
    assert 0 in pauses
    assert 3000 < max(pauses) <= 3600
    assert len(orchestrator.submitted) == 1


def test_a_rate_limit_longer_than_our_patience_is_exit_code_6(
    run: Run, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.faults = [HttpFault("POST", 429, headers={"retry-after": "60"}) for _ in range(3)]
    result = run("list", "--timeout", "0.2")
    assert result.exit_code == 6
    assert orchestrator.submitted == []


def test_a_used_up_quota_of_requests_is_not_waited_for(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.faults = [HttpFault("POST", 429, '{"error": "Quota exceeded or not configured"}')]
    result = run("list")
    assert result.exit_code == 1
    assert "quota" in result.stderr


@pytest.mark.parametrize("fault", [HttpFault("GET", drop=True), HttpFault("GET", 502)])
@pytest.mark.usefixtures("pauses")
def test_polling_survives_a_hiccup(run: Run, orchestrator: FakeOrchestrator, fault: HttpFault) -> None:
    orchestrator.faults = [fault]
    result = run("list")
    assert result.exit_code == 0
    assert len(orchestrator.submitted) == 1


def test_a_request_that_may_have_arrived_is_not_sent_twice(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.faults = [HttpFault("POST", 500, '{"error": "boom"}')]
    result = run("list")
    assert result.exit_code == 6
    assert orchestrator.submitted == []


def test_too_large_a_request_says_what_to_do_instead(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.faults = [HttpFault("POST", 413, "Maximum request body size exceeded")]
    result = run("list")
    assert result.exit_code == 1
    assert "--git URL" in result.stderr


@pytest.mark.parametrize("status", ["failed", "quarantined", "cancelled", "error"])
def test_an_end_without_an_explanation_is_still_an_error(
    run: Run, orchestrator: FakeOrchestrator, status: str
) -> None:
    orchestrator.answers("list", {"status": status})
    result = run("list", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "JOB_FAILED"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("QUOTA_EXCEEDED", 1),
        ("INVALID_BOT_ID", 1),
        ("A_CODE_OF_THE_FUTURE", 1),
        ("FORBIDDEN_USER", 3),
        ("BOT_NOT_FOUND", 4),
        ("ENGINE_UNAVAILABLE", 6),
        ("NO_WORKER_AVAILABLE", 6),
        ("TASK_TIMED_OUT", 6),
        ("TOO_MANY_REQUESTS", 6),
        ("SUPERSEDED", 1),
        ("WORKER_LOST", 6),
    ],
)
def test_codes_that_scripts_treat_differently_have_exit_codes(
    run: Run, orchestrator: FakeOrchestrator, code: str, exit_code: int
) -> None:
    orchestrator.answers("list", {"status": "failed", "result": {"error": {"code": code}}})
    assert run("list").exit_code == exit_code


def test_patience_has_an_end(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("list", running())
    result = run("--timeout", "0.2", "list")
    assert result.exit_code == 6
    assert "--timeout" in result.stderr
