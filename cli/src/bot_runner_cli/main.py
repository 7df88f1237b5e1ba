"""The command line as a whole."""

import io
import json
import sys
from typing import Annotated

import typer

from bot_runner_cli import options
from bot_runner_cli.commands import bots, logs, start
from bot_runner_cli.connection import ConnectionOptions
from bot_runner_cli.errors import EXIT_CODE_MEANINGS, UsageError

_EPILOG = "\n".join(
    [
        "[bold]First steps[/bold]",
        "export BOT_RUNNER_URL=http://127.0.0.1:8000 BOT_RUNNER_TOKEN=…",
        "bot-runner start echo --simple bot.py -r 'aiogram>=3' -e BOT_TOKEN",
        "bot-runner logs echo --follow",
        "\n[bold]Exit codes[/bold]",
        *(f"{code.value:>3}  {meaning}" for code, meaning in EXIT_CODE_MEANINGS.items()),
    ]
)

app = typer.Typer(
    name="bot-runner",
    help="Deploy and watch Telegram bots through an Avtomatika orchestrator.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    # Locals in a traceback would show tokens.
    pretty_exceptions_show_locals=False,
)
app.command(epilog=start.EPILOG)(start.start)
app.command()(bots.stop)
app.command()(bots.restart)
app.command()(logs.logs)
app.command("list")(bots.list_bots)
app.command()(bots.status)


def _show_version(wanted: bool) -> None:
    if wanted:
        from bot_runner_cli import __version__

        typer.echo(f"bot-runner {__version__}")
        raise typer.Exit


@app.callback()
def connection(
    context: typer.Context,
    as_json: options.Json = False,
    url: options.Url = None,
    token: options.Token = None,
    user: options.User = None,
    timeout: options.Timeout = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Deploy and watch Telegram bots through an Avtomatika orchestrator."""
    context.obj = ConnectionOptions(url, token, user, as_json, timeout)


def main() -> None:
    """Run the command line and exit; the console script ``bot-runner``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A bot may print what this terminal's encoding does not have.
            stream.reconfigure(errors="backslashreplace")
    if "--json" not in sys.argv:
        app()
        return
    # What typer itself finds wrong must be JSON, too.
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        problem = UsageError(error.format_message(), hint="See --help.")
        print(json.dumps({"error": problem.to_dict()}))
        sys.exit(problem.exit_code)
    sys.exit(code or 0)
