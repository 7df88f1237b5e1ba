"""``--help`` is quick: a command is imported when it is run, and its summary says the same before."""

import subprocess
import sys

import pytest
import typer
import typer.main
from typer.core import TyperGroup

from bot_runner_worker.cli import app
from bot_runner_worker.cli.plugins import plugins

HEAVY = (
    "aiodocker",
    "aiohttp",
    "asyncio",
    "avtomatika_worker",
    "pluggy",
    "prometheus_client",
    "pydantic_settings",
    "bot_runner_worker.runner",
    "bot_runner_worker.settings",
)


@pytest.mark.parametrize("command", [[], ["plugins"]], ids=" ".join)
def test_help_imports_nothing_that_a_running_command_needs(command: list[str]) -> None:
    code = (
        "import sys\nfrom bot_runner_worker.cli import app\n"
        f"app({[*command, '--help']}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("group", [app, plugins], ids=["worker", "plugins"])
def test_a_summary_is_the_first_paragraph_of_the_commands_help(group: typer.Typer) -> None:
    commands = typer.main.get_group(group)
    assert isinstance(commands, TyperGroup)
    context = typer.Context(commands)  # type: ignore[arg-type]
    for name, placeholder in commands.commands.items():
        _, command, rest = commands.resolve_command(context, [name, "--help"])
        assert command is not None
        assert rest == ["--help"]
        assert command is not placeholder
        help_text = (command.help or "").partition("\n\n")[0].replace("\n", " ")
        assert help_text == placeholder.help


def test_an_unknown_command_is_refused_with_the_one_that_was_meant() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot_runner_worker", "doktor"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Did you mean 'doctor'?" in done.stderr
