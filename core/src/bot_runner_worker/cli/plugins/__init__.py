"""``bot-runner-worker plugins``: what is installed, whether it keeps to the contract, and a new one."""

import typer

from bot_runner_worker.cli.lazy import LazyGroup, add_lazily
from bot_runner_worker.cli.output import AsJson

plugins = typer.Typer(
    cls=LazyGroup,
    help="Show the installed deployment plugins, check one, or write a new one.",
    invoke_without_command=True,
)
for name, function, summary in (
    ("list", "show", "Show the installed deployment plugins, what each offers, and why one was refused."),
    ("check", "check", "Run the conformance suite against an installed plugin."),
    ("new", "new", "Write a plugin with its tests, ready for pip install -e."),
):
    add_lazily(plugins, f"bot_runner_worker.cli.plugins.commands:{function}", name, summary)


@plugins.callback()
def show_by_default(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the installed deployment plugins, check one, or write a new one."""
    if context.invoked_subcommand is None:
        from bot_runner_worker.cli.plugins.commands import show

        show(as_json)
