"""The options of ``start`` alone: what to run, and how."""

from pathlib import Path
from typing import Annotated

import typer

_WHAT = "What to run (one of)"
_MORE = "More about what to run"
_HOW = "How to run it"

MoreFiles = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE", help="More files for --simple.", show_default=False)
]
Simple = Annotated[
    list[Path] | None,
    typer.Option(
        "--simple",
        metavar="FILE|FOLDER",
        help="Python code: a file, several, a folder, or - for stdin.",
        rich_help_panel=_WHAT,
    ),
]
Custom = Annotated[
    str | None,
    typer.Option(
        "--custom",
        metavar="PATH|URL",
        help="A project: a folder, a tar or zip archive, or the URL of an archive or git repository.",
        rich_help_panel=_WHAT,
    ),
]
Git = Annotated[
    str | None, typer.Option("--git", metavar="URL", help="A git repository.", rich_help_panel=_WHAT)
]
Image = Annotated[
    str | None,
    typer.Option("--image", metavar="REF", help="An image in a registry.", rich_help_panel=_WHAT),
]
Mode = Annotated[
    str | None,
    typer.Option(
        "--mode", metavar="NAME", help="Any other mode that the service offers.", rich_help_panel=_WHAT
    ),
]
Requirements = Annotated[
    list[str] | None,
    typer.Option(
        "--requirement",
        "-r",
        metavar="FILE|SPEC",
        help="Packages for --simple: a file, or a specifier such as 'aiogram>=3'. Repeatable. "
        "By default the folder's requirements.txt.",
        rich_help_panel=_MORE,
    ),
]
Entrypoint = Annotated[
    str | None,
    typer.Option(
        "--entrypoint",
        metavar="FILE",
        help="The file to run, by default bot.py, main.py or the only one.",
        rich_help_panel=_MORE,
    ),
]
Branch = Annotated[
    str | None, typer.Option("--branch", metavar="NAME", help="Git branch or tag.", rich_help_panel=_MORE)
]
Subdir = Annotated[
    str | None,
    typer.Option("--subdir", metavar="FOLDER", help="Folder in the repository.", rich_help_panel=_MORE),
]
GitTokenStdin = Annotated[
    bool,
    typer.Option(
        "--git-token-stdin",
        help="Read the token of a private repository from stdin. Otherwise GIT_TOKEN is used if set.",
        rich_help_panel=_MORE,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="NAME",
        help="Send .git or .env too, which --custom FOLDER leaves out. Repeatable.",
        rich_help_panel=_MORE,
    ),
]
RegistryUser = Annotated[
    str | None,
    typer.Option(
        "--registry-user",
        metavar="USER",
        help="User of a private registry; the password is asked for.",
        rich_help_panel=_MORE,
    ),
]
RegistryPasswordStdin = Annotated[
    bool,
    typer.Option(
        "--registry-password-stdin",
        help="Read the registry's password from stdin.",
        rich_help_panel=_MORE,
    ),
]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=TEXT",
        help="A parameter for --mode; NAME:=JSON for numbers and lists. Repeatable.",
        rich_help_panel=_MORE,
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME[=VALUE]",
        help="A variable of the bot's environment; without a value, your own. Repeatable.",
        rich_help_panel=_HOW,
    ),
]
EnvFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        help="Variables from a dotenv file; -e wins. Repeatable.",
        rich_help_panel=_HOW,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="Memory limit, such as 128m.", rich_help_panel=_HOW),
]
Cpu = Annotated[
    float | None,
    typer.Option("--cpu", metavar="CORES", help="CPU limit, such as 0.25.", rich_help_panel=_HOW),
]
Pids = Annotated[
    int | None,
    typer.Option("--pids", metavar="NUMBER", help="Limit of processes and threads.", rich_help_panel=_HOW),
]
Replace = Annotated[
    bool,
    typer.Option("--replace", help="Replace the bot if it runs with other content.", rich_help_panel=_HOW),
]
