"""The command ``bot-runner-worker``, for operators and plugin authors; each command has its module."""

from typing import Annotated

import typer

from bot_runner_worker import __version__
from bot_runner_worker.cli.lazy import LazyGroup, add_lazily

app = typer.Typer(
    name="bot-runner-worker",
    cls=LazyGroup,
    help="Deploys Telegram bots into isolated Docker containers, on tasks of an Avtomatika orchestrator.\n\n"
    "Settings come from the environment or a .env file; the README lists them all.",
    epilog="Exit codes: 0 done · 1 the task or check failed · 2 wrong settings or usage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = {
    "run": "Run the worker until SIGTERM or Ctrl-C. Bots go on running without it.",
    "doctor": "Check all that the worker depends on; each problem comes with a remedy.",
    "task": 'Run one task, while no worker is active, and print {"status", "data"} as JSON.',
    "remove-all": "Remove each bot, network and image of this namespace (RUNNER_NAMESPACE) from the Engine.",
    "plugins": "Show the installed deployment plugins, check one, or write a new one.",
    "firewall": "Close the host, private networks and cloud metadata to bots, on the bots' bridges only. "
    "The internet and name servers stay open, and what FIREWALL_ALLOW lists.",
}
for name, summary in COMMANDS.items():
    function = name.replace("-", "_")
    add_lazily(app, f"bot_runner_worker.cli.{function}:{function}", name, summary)


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
