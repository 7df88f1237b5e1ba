"""``bot-runner stop``, ``restart``, ``status`` and ``list``."""

from datetime import UTC, datetime

import typer
from rich.text import Text

from bot_runner_cli import launch, options
from bot_runner_cli.connection import ConnectionOptions
from bot_runner_cli.errors import ExitCode
from bot_runner_cli.session import open_session
from bot_runner_cli.tables import bot_card, bots_table

_UP = frozenset({"running", "starting"})


def stop(
    context: typer.Context,
    bot_id: options.BotId,
    as_json: options.Json = False,
    url: options.Url = None,
    token: options.Token = None,
    user: options.User = None,
    timeout: options.Timeout = None,
) -> None:
    """Stop a bot. Exit code 4 if there is none."""
    with open_session(context, ConnectionOptions(url, token, user, as_json, timeout)) as session:
        data = session.jobs.run("stop", {"bot_id": bot_id})
        found = data.get("status") != "not_found"
        said = " is stopped." if found else " is not there; nothing was stopped."
        session.output.result(data, Text.assemble((bot_id, "bold"), said))
        if not found:
            raise typer.Exit(ExitCode.NOT_RUNNING)


def restart(
    context: typer.Context,
    bot_id: options.BotId,
    watch: options.Watch = 3.0,
    as_json: options.Json = False,
    url: options.Url = None,
    token: options.Token = None,
    user: options.User = None,
    timeout: options.Timeout = None,
) -> None:
    """Restart a bot with the content and environment that it has, and see whether it stays up."""
    connection = ConnectionOptions(url, token, user, as_json, timeout)
    with open_session(context, connection, timeout=launch.TIMEOUT) as session:
        launch.launch(session, "restart", {"bot_id": bot_id}, watch)


def status(
    context: typer.Context,
    bot_id: options.BotId,
    as_json: options.Json = False,
    url: options.Url = None,
    token: options.Token = None,
    user: options.User = None,
    timeout: options.Timeout = None,
) -> None:
    """Show how a bot is. Exit code 0 only if it runs or is about to, otherwise 4."""
    with open_session(context, ConnectionOptions(url, token, user, as_json, timeout)) as session:
        data = session.jobs.run("status", {"bot_id": bot_id})
        exists = bool(data.get("exists"))
        card = bot_card({"bot_id": bot_id, **data}, datetime.now(UTC))
        session.output.result(data, card if exists else Text.assemble((bot_id, "bold"), " is not there."))
        if not exists or data.get("status") not in _UP:
            raise typer.Exit(ExitCode.NOT_RUNNING)


def list_bots(
    context: typer.Context,
    as_json: options.Json = False,
    url: options.Url = None,
    token: options.Token = None,
    user: options.User = None,
    timeout: options.Timeout = None,
) -> None:
    """List your bots."""
    with open_session(context, ConnectionOptions(url, token, user, as_json, timeout)) as session:
        data = session.jobs.run("list")
        if not data.get("bots"):
            session.output.result(data, "No bots. Start one: bot-runner start my-bot --simple bot.py")
            return
        session.output.result(data, bots_table(data, datetime.now(UTC)))
        if not session.output.as_json and data.get("max_bots"):
            session.output.note(f"At most {data['max_bots']} may run at once.")
