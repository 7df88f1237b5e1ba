"""The commands below ``plugins``; without one, the installed plugins are shown."""

import typer

from bot_runner_worker.cli.output import AsJson
from bot_runner_worker.cli.plugins.checking import check
from bot_runner_worker.cli.plugins.listing import show
from bot_runner_worker.cli.plugins.writing import new

plugins = typer.Typer(
    help="Show the installed deployment plugins, check one, or write a new one.", invoke_without_command=True
)


@plugins.callback()
def show_by_default(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the installed deployment plugins, check one, or write a new one."""
    if context.invoked_subcommand is None:
        show(as_json)


plugins.command("list")(show)
plugins.command("check")(check)
plugins.command("new")(new)
