"""`-e` and `--env-file`: what reaches the bot's environment, and that no error shows a value."""

from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_orchestrator import FakeOrchestrator

SENTINEL = "sentinel-4f1c9e"


def test_values_come_from_options_files_and_our_own_environment(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_TOKEN", "123:ABC")
    (tmp_path / "vars").write_text("LEVEL=info\nOWNER=me\n")
    run(
        "start",
        "shop",
        "--simple",
        bot_file,
        "--env-file",
        tmp_path / "vars",
        "-e",
        "BOT_TOKEN",
        "-e",
        "LEVEL=a=b",
    )
    assert orchestrator.started["env_vars"] == {"BOT_TOKEN": "123:ABC", "LEVEL": "a=b", "OWNER": "me"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("\ufeffA=1\n", {"A": "1"}),
        ("export A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# comment\n\n  A = 1  # why\nB=x#y\n", {"A": "1", "B": "x#y"}),
        ("A=\nB=''\n", {"A": "", "B": ""}),
        ("A='it is # \\n literal'\n", {"A": "it is # \\n literal"}),
        ('A="two\\nlines" # comment\n', {"A": "two\nlines"}),
        ('A="a \\"quote\\" and \\\\"\n', {"A": 'a "quote" and \\'}),
        (
            'KEY="-----BEGIN-----\nabc\n-----END-----"\nB=1\n',
            {"KEY": "-----BEGIN-----\nabc\n-----END-----", "B": "1"},
        ),
        ("A=$HOME ${B}\n", {"A": "$HOME ${B}"}),
        ("TAKEN_OVER\n", {"TAKEN_OVER": "yes"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("export=1\n", {"export": "1"}),
    ],
)
def test_the_dotenv_format(
    run: Run,
    orchestrator: FakeOrchestrator,
    bot_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    expected: dict[str, str],
) -> None:
    monkeypatch.setenv("TAKEN_OVER", "yes")
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    assert run("start", "shop", "--simple", bot_file, "--env-file", path).exit_code == 0
    assert orchestrator.started["env_vars"] == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"A=1\n{SENTINEL} value\n", 2),
        (f'A=1\n\nB="{SENTINEL}\nC=2\n', 3),
        (f"A='1' {SENTINEL}\n", 1),
        (f"1A={SENTINEL}\n", 1),
        (f"A-B={SENTINEL}\n", 1),
    ],
)
def test_a_malformed_line_is_named_by_its_number_only(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path, tmp_path: Path, text: str, line: int
) -> None:
    path = tmp_path / "vars"
    path.write_text(text)
    result = run("start", "shop", "--simple", bot_file, "--env-file", path)
    assert result.exit_code == 2
    assert f"vars, line {line}:" in result.stderr
    assert SENTINEL not in result.output


@pytest.mark.parametrize("option", [SENTINEL, f"{SENTINEL}=1", f"={SENTINEL}", f"1={SENTINEL}"])
def test_a_malformed_option_is_named_by_its_number_only(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path, option: str
) -> None:
    result = run("start", "shop", "--simple", bot_file, "-e", "A=1", "-e", option)
    assert result.exit_code == 2
    assert "-e number 2 is not NAME=VALUE" in result.stderr
    assert SENTINEL not in result.output


def test_a_variable_that_is_not_set_is_named(
    run: Run, orchestrator: FakeOrchestrator, bot_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BOT_TOKEN", raising=False)
    result = run("start", "shop", "--simple", bot_file, "-e", "BOT_TOKEN")
    assert result.exit_code == 2
    assert "BOT_TOKEN is not set" in result.stderr
