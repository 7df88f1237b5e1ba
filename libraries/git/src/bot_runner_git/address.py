"""Where a repository is, with its credentials kept apart from the address."""

import base64
import re
import socket
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from bot_runner_git.errors import INVALID_GIT_URL
from bot_runner_worker.plugin import Rejected, SourceUrl, parse_url

_PATH = re.compile(r"/[A-Za-z0-9_.~%!&'()*+,;=:@/-]+")

# Servers take any user name beside a token, but these want one of their own.
_TOKEN_USERS = {"bitbucket.org": "x-token-auth"}
_TOKEN_USER = "x-access-token"  # noqa: S105


def _invalid(message: str, hint: str = "") -> Rejected:
    # Never the address itself: it may hold a password.
    return Rejected(
        INVALID_GIT_URL, message, hint=hint or "Give an address such as https://example.com/owner/bot.git."
    )


@dataclass(frozen=True, slots=True)
class RepositoryAddress:
    """A repository's address.

    Args:
        url: The address without credentials, normalised.
        host: The server's name or address.
        port: Its port.
        authorization: Value of the ``Authorization`` header, if there are credentials.
    """

    url: str
    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, token: str | None) -> Self:
        """Take an address apart.

        Args:
            text: ``https://host/path``, optionally with ``user:password@`` or ``token@``.
            token: A token, or ``user:password``.

        Raises:
            Rejected: ``INVALID_GIT_URL``; the message never repeats the address.
        """
        if re.match(r"ssh://|git://|git\+ssh://|[\w.-]+@[\w.-]+:", text):
            raise _invalid(
                "git_repo uses SSH or the old Git protocol.",
                "Give the https:// address of the repository; a private one needs git_token.",
            )
        source = parse_url(text, code=INVALID_GIT_URL, field="git_repo")
        if source.scheme not in ("https", "http"):
            raise _invalid("git_repo is no https:// address.")
        if "?" in text:
            raise _invalid(
                "git_repo holds a query.",
                "Name the branch in git_branch, the folder in git_subdir, and the token in git_token.",
            )
        path = source.target.rstrip("/")
        if not _PATH.fullmatch(path) or ".." in unquote(path).split("/"):
            raise _invalid("git_repo names no repository.")
        host = _canonical(source.host)
        shown = SourceUrl(source.scheme, host, source.port, path)
        return cls(
            url=shown.without_credentials,
            host=host,
            port=source.port,
            authorization=_authorization(source, token),
        )


def _canonical(host: str) -> str:
    # "0x7f.1" and the like: git would write it out by itself, and then not find it among the checked names.
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return host


def _authorization(source: SourceUrl, token: str | None) -> str | None:
    if token is not None and source.username:
        raise _invalid("The request gives credentials twice.", "Give git_token, or the user in git_repo.")
    if token is not None and ":" in token:
        pair = token
    elif token is None and source.password:
        pair = f"{source.username}:{source.password}"
    elif secret := token or source.username:
        # https://TOKEN@host, as some servers print it, is a token and no user.
        pair = f"{_TOKEN_USERS.get(source.host, _TOKEN_USER)}:{secret}"
    else:
        return None
    if not pair.isprintable() or not pair.isascii():
        raise _invalid("The credentials hold characters that they cannot have.")
    return "Basic " + base64.b64encode(pair.encode()).decode()
