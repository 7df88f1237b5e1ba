"""Options that every command takes."""

from typing import Annotated

import typer

_PANEL = "Connection"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The orchestrator, by default BOT_RUNNER_URL or http://127.0.0.1:8000.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="The client token. Better set BOT_RUNNER_TOKEN: others on this machine can read command lines.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
User = Annotated[
    str | None,
    typer.Option(
        "--user",
        metavar="USER_ID",
        help="Act for this user, where the orchestrator lets your token do so.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document, errors included, and nothing else on stdout."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        help="Give up after this long. By default 900 for start and restart, otherwise 60.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
BotId = Annotated[
    str, typer.Argument(metavar="BOT_ID", help="The bot's name among your bots.", show_default=False)
]
Watch = Annotated[
    float,
    typer.Option("--watch", metavar="SECONDS", min=0, help="Watch the bot this long; 0: not at all."),
]
