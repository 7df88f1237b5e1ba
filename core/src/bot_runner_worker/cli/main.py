"""The commands, each in a module of its own."""

from typing import Annotated

import typer

from bot_runner_worker import __version__
from bot_runner_worker.cli.doctor import doctor
from bot_runner_worker.cli.firewall import firewall
from bot_runner_worker.cli.plugins import plugins
from bot_runner_worker.cli.remove_all import remove_all
from bot_runner_worker.cli.run import run
from bot_runner_worker.cli.task import task

app = typer.Typer(
    name="bot-runner-worker",
    help="Deploys Telegram bots into isolated Docker containers, on tasks of an Avtomatika orchestrator.\n\n"
    "Settings come from the environment or a .env file; the README lists them all.",
    epilog="Exit codes: 0 done · 1 the task or check failed · 2 wrong settings or usage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, doctor, task, remove_all):
    app.command()(command)
app.add_typer(plugins, name="plugins")
app.add_typer(firewall, name="firewall")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bot-runner-worker {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Deploys Telegram bots into isolated Docker containers."""
