"""The help and the README say what the command does."""

from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
from tests.cli.conftest import Run

from bot_runner_cli.errors import EXIT_CODE_MEANINGS, ExitCode
from bot_runner_cli.main import app

README = (Path(__file__).parents[2] / "cli" / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_group(app).commands


def test_every_exit_code_has_a_meaning() -> None:
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("code", "meaning"), [(code.value, text) for code, text in EXIT_CODE_MEANINGS.items()]
)
def test_exit_codes_are_in_the_help_and_in_the_readme(run: Run, code: int, meaning: str) -> None:
    assert f"{code}  {meaning}" in " ".join(run("--help").stdout.split(" "))
    assert f"| {code} | {meaning} |" in README


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_in_the_readme(name: str) -> None:
    assert f"bot-runner {name}" in README
    options = {
        option for parameter in COMMANDS[name].params for option in parameter.opts if option[:2] == "--"
    }
    assert {option for option in options if f"`{option}" not in README} == set()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_help_text(name: str) -> None:
    assert [
        parameter.name
        for parameter in COMMANDS[name].params
        if parameter.name != "help" and not getattr(parameter, "help", None)
    ] == []


def test_the_version_is_shown(run: Run) -> None:
    assert run("--version").stdout == f"bot-runner {version('bot-runner-cli')}\n"
