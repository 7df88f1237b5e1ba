"""Picks the one source that the command line names, and checks that its other options fit."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot_runner_cli.errors import UsageError
from bot_runner_cli.requirements import resolve
from bot_runner_cli.secret_input import git_token, registry_password
from bot_runner_cli.sources.archive import file_source, folder_source
from bot_runner_cli.sources.model import Source
from bot_runner_cli.sources.remote import archive_url_source, git_source, image_source, is_git, is_remote
from bot_runner_cli.sources.simple import simple_source

_KINDS = "--simple, --custom, --git, --image or --mode"
_RESERVED = frozenset(
    {"action", "user_id", "bot_id", "deployment_mode", "env_vars", "resource_limits", "replace"}
)
_SECRET_NAME = re.compile("password|token|secret|auth|key", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The options of ``start`` that say what to run, as given."""

    simple: Sequence[Path] = ()
    more_files: Sequence[Path] = ()
    custom: str | None = None
    include: Sequence[str] = ()
    git: str | None = None
    branch: str | None = None
    subdir: str | None = None
    git_token_stdin: bool = False
    image: str | None = None
    registry_user: str | None = None
    registry_password_stdin: bool = False
    mode: str | None = None
    params: Sequence[str] = ()
    requirements: Sequence[str] = ()
    entrypoint: str | None = None

    @property
    def is_git(self) -> bool:
        """Whether the source is a git repository, by ``--git`` or by ``--custom`` with a URL of one."""
        return self.git is not None or (
            self.custom is not None and is_remote(self.custom) and is_git(self.custom)
        )


def choose(selection: Selection, environ: Mapping[str, str]) -> Source:
    """Turn the options into a source.

    Args:
        selection: The options.
        environ: Holds ``GIT_TOKEN``, perhaps.

    Raises:
        UsageError: No source or several, options that do not fit together, or a file that cannot be sent.
    """
    _check(selection)
    if selection.simple:
        requirements = resolve(selection.requirements) if selection.requirements else None
        return simple_source([*selection.simple, *selection.more_files], requirements, selection.entrypoint)
    if selection.image is not None:
        password = registry_password(selection.registry_user, from_stdin=selection.registry_password_stdin)
        return image_source(selection.image, selection.registry_user, password)
    source = _other_mode(selection) if selection.mode is not None else _custom(selection, environ)
    if selection.entrypoint is not None:
        source.params["entrypoint"] = selection.entrypoint
    return source


def _custom(selection: Selection, environ: Mapping[str, str]) -> Source:
    location = selection.git or selection.custom or ""
    if selection.is_git:
        token = git_token(environ, from_stdin=selection.git_token_stdin)
        return git_source(location, selection.branch, selection.subdir, token)
    if is_remote(location):
        return archive_url_source(location)
    path = Path(location)
    if path.is_dir():
        return folder_source(path, selection.include)
    if path.is_file():
        return file_source(path)
    raise UsageError(f"There is no file or folder {path}.", hint="A URL begins with https://.")


def _other_mode(selection: Selection) -> Source:
    params: dict[str, Any] = {"deployment_mode": selection.mode}
    for text in selection.params:
        name, separator, value = text.partition("=")
        typed = name.endswith(":")
        name = name.removesuffix(":")
        if not separator or not name:
            raise UsageError("--param takes NAME=TEXT, or NAME:=JSON for numbers, lists and the like.")
        if name in _RESERVED:
            raise UsageError(
                f"--param cannot set {name}.", hint="It has an option or an argument of its own."
            )
        try:
            params[name] = json.loads(value) if typed else value
        except ValueError:
            raise UsageError(f"--param {name}:= is not followed by valid JSON.") from None
    if selection.requirements:
        params["requirements"] = resolve(selection.requirements)
    # The mode is somebody else's: only the names tell which of its params are secrets.
    secrets = frozenset(
        value for name, value in params.items() if isinstance(value, str) and _SECRET_NAME.search(name)
    )
    return Source(params, secrets=secrets)


def _check(selection: Selection) -> None:
    given = {
        "--simple": bool(selection.simple),
        "--custom": selection.custom is not None,
        "--git": selection.git is not None,
        "--image": selection.image is not None,
        "--mode": selection.mode is not None,
    }
    kinds = [kind for kind, is_given in given.items() if is_given]
    if not kinds:
        raise UsageError(f"What is to run? Give one of {_KINDS}.", hint="For example: --simple bot.py")
    if len(kinds) > 1:
        raise UsageError(f"{' and '.join(kinds)} cannot be combined.", hint=f"Give one of {_KINDS}.")
    kind = kinds[0]
    local = selection.custom is not None and not is_remote(selection.custom)
    # option, whether it is given, whether it fits, what it fits
    rules = (
        ("More files", bool(selection.more_files), kind == "--simple", "--simple"),
        ("--branch", selection.branch is not None, selection.is_git, "a git repository"),
        ("--subdir", selection.subdir is not None, selection.is_git, "a git repository"),
        ("--git-token-stdin", selection.git_token_stdin, selection.is_git, "a git repository"),
        ("--include", bool(selection.include), local, "--custom with a local folder"),
        ("--registry-user", selection.registry_user is not None, kind == "--image", "--image"),
        (
            "--registry-password-stdin",
            selection.registry_password_stdin,
            selection.registry_user is not None,
            "--registry-user",
        ),
        ("--param", bool(selection.params), kind == "--mode", "--mode"),
        ("-r", bool(selection.requirements), kind in ("--simple", "--mode"), "--simple"),
        ("--entrypoint", selection.entrypoint is not None, kind != "--image", "a source with code"),
    )
    for option, is_given, fits, needed in rules:
        if is_given and not fits:
            hint = ""
            if option == "-r":
                hint = "Other sources bring their own requirements.txt, Dockerfile or image."
            if option == "More files":
                hint = "Arguments after BOT_ID are files that belong to --simple."
            raise UsageError(f"{option} goes only with {needed}.", hint=hint)
