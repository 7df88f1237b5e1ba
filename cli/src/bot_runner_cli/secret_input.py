"""Secrets that do not belong on a command line: from stdin, from a prompt or from the environment."""

import getpass
import sys
from collections.abc import Mapping

from bot_runner_cli.errors import UsageError


def registry_password(user: str | None, *, from_stdin: bool) -> str | None:
    """The registry's password, if there is a user that needs one.

    Raises:
        UsageError: There is no terminal to ask on, or nothing on stdin.
    """
    if user is None:
        return None
    if from_stdin:
        return _from_stdin("the registry's password")
    if not sys.stdin.isatty():
        raise UsageError(
            "The registry's password cannot be asked for: this is no terminal.",
            hint="Pipe it in with --registry-password-stdin.",
        )
    return getpass.getpass(f"Password of {user} at the registry: ")


def git_token(environ: Mapping[str, str], *, from_stdin: bool) -> str | None:
    """The token for a private repository, from stdin or ``GIT_TOKEN``; ``None`` if there is none.

    Raises:
        UsageError: There is nothing on stdin.
    """
    if from_stdin:
        return _from_stdin("the git token")
    return environ.get("GIT_TOKEN") or None


def _from_stdin(what: str) -> str:
    secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise UsageError(f"There is nothing on stdin: {what} was expected.")
    return secret
