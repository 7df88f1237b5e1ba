"""``bot-runner logs``."""

from typing import Annotated, Any

import typer

from bot_runner_cli import options
from bot_runner_cli.connection import ConnectionOptions
from bot_runner_cli.errors import ExitCode, RequestError
from bot_runner_cli.follow import follow as follow_log
from bot_runner_cli.output import Output
from bot_runner_cli.session import open_session


def logs(
    context: typer.Context,
    bot_id: options.BotId,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=1, help="The last N lines.")] = 100,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only what is newer: an RFC 3339 time, or next_since of an earlier answer.",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the bot ends, or Ctrl-C.")
    ] = False,
    as_json: options.Json = False,
    url: options.Url = None,
    token: options.Token = None,
    user: options.User = None,
    timeout: options.Timeout = None,
) -> None:
    """Show what a bot has printed."""
    with open_session(context, ConnectionOptions(url, token, user, as_json, timeout)) as session:
        params: dict[str, Any] = {"bot_id": bot_id, "lines": lines}
        if since is not None:
            params["since"] = since
        if not follow:
            _show(session.output, session.jobs.run("logs", params), bot_id)
            return
        try:
            for chunk in follow_log(session.jobs, params):
                _show(session.output, chunk, bot_id)
        except KeyboardInterrupt as interrupt:
            # The usual way to end it: no error, nothing on stdout.
            raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
        session.output.note(f"{bot_id} is {chunk.get('container_status')}.")


def _show(output: Output, chunk: dict[str, Any], bot_id: str) -> None:
    if chunk.get("status") == "not_found":
        failed = RequestError.from_answer({"code": "BOT_NOT_FOUND", "message": f"There is no bot {bot_id}."})
        raise failed
    output.log(chunk)
    if chunk.get("truncated") and not output.as_json:
        output.note("Some of the output is left out: there was too much at once.")
