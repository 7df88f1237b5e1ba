"""A secret that the command is given is in the request and nowhere in what the command prints."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_orchestrator import CLIENT_TOKEN, STARTED, FakeOrchestrator, bot, failed, logs, running

SENTINEL = "123456:sentinel-7b1e"


@pytest.fixture(params=[(), ("--json",)], ids=["text", "json"])
def json_or_not(request: pytest.FixtureRequest) -> tuple[str, ...]:
    value: tuple[str, ...] = request.param
    return value


def test_environment_values_are_masked_in_what_others_repeat(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path, json_or_not: tuple[str, ...]
) -> None:
    orchestrator.answers("start", running(f"Starting with {SENTINEL}"), STARTED)
    orchestrator.answers("status", bot("crashed", exit_code=1, reason=f"bad token {SENTINEL}"))
    orchestrator.answers("logs", logs(f"POST /bot{SENTINEL}/getMe 401\n", status="crashed"))
    result = run("start", "shop", "--simple", bot_file, "-e", f"BOT_TOKEN={SENTINEL}", *json_or_not)
    assert result.exit_code == 5
    assert orchestrator.started["env_vars"] == {"BOT_TOKEN": SENTINEL}
    assert SENTINEL not in result.output
    assert "/bot***/getMe" in result.output


def test_each_line_of_a_value_is_masked(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path, json_or_not: tuple[str, ...]
) -> None:
    orchestrator.answers("start", failed("BUILD_FAILED", "x", details={"log": "a\nline-two-sentinel\nb"}))
    result = run("start", "shop", "--simple", bot_file, "-e", "KEY=line-one\nline-two-sentinel", *json_or_not)
    assert "line-two-sentinel" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--git", f"https://user:{SENTINEL}@git.example.com/shop.git"),
        ("--custom", f"https://example.com/shop.tar.gz?signature={SENTINEL}"),
        ("--git", "https://git.example.com/shop.git", "--git-token-stdin"),
        ("--image", "r.example.com/x", "--registry-user", "me", "--registry-password-stdin"),
        ("--mode", "echo", "--param", f"api_key={SENTINEL}"),
    ],
)
def test_credentials_of_a_source_are_masked(
    run: Run, orchestrator: FakeOrchestrator, arguments: tuple[str, ...], json_or_not: tuple[str, ...]
) -> None:
    orchestrator.answers(
        "start", failed("SOURCE_REFUSED", f"Refused: {SENTINEL}", details={"said": [SENTINEL]})
    )
    result = run("start", "shop", *arguments, *json_or_not, stdin=SENTINEL + "\n")
    assert result.exit_code == 1
    assert SENTINEL in json.dumps(orchestrator.started)
    assert SENTINEL not in result.output


def test_the_client_token_is_masked(run: Run, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("list", failed("X", f"header was {CLIENT_TOKEN}"))
    result = run("list", "--token", CLIENT_TOKEN)
    assert CLIENT_TOKEN not in result.output


def test_short_values_do_not_blank_out_the_text(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    orchestrator.answers("start", failed("X", "The 1st true error of prod."))
    result = run("start", "shop", "--simple", bot_file, "-e", "A=1", "-e", "B=true", "-e", "C=prod")
    assert "The 1st true error of prod." in result.stderr


def test_statuses_stay_what_scripts_compare_them_with(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path
) -> None:
    result = run("start", "shop", "--simple", bot_file, "-e", "STATE=started", "--json")
    assert json.loads(result.stdout)["status"] == "started"
