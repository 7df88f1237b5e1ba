"""Where the orchestrator is, and as whom we speak to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bot_runner_cli.errors import AccessError, UsageError

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLES = ("BOT_RUNNER_URL", "AVTOMATIKA_URL")
TOKEN_VARIABLES = ("BOT_RUNNER_TOKEN", "AVTOMATIKA_TOKEN")


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The connection as far as the command line says; given before the command's name or after it."""

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    user: str | None = None
    as_json: bool = False
    timeout: float | None = None

    def over(self, outer: "ConnectionOptions") -> "ConnectionOptions":
        """These options, and the outer ones where these say nothing."""
        return ConnectionOptions(
            url=self.url or outer.url,
            token=self.token or outer.token,
            user=self.user or outer.user,
            as_json=self.as_json or outer.as_json,
            timeout=self.timeout if self.timeout is not None else outer.timeout,
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """An orchestrator and the credentials for it.

    Attributes:
        url: Base URL without a slash at the end.
        token: The client token.
        user: The user to act for; ``None`` is the token's own user.
    """

    url: str
    token: str = field(repr=False)
    user: str | None = None


def resolve(options: ConnectionOptions, environ: Mapping[str, str]) -> Connection:
    """Fill in from the environment what the command line leaves out.

    Raises:
        UsageError: The URL is none.
        AccessError: There is no token.
    """
    url = (options.url or _first(environ, URL_VARIABLES) or DEFAULT_URL).rstrip("/")
    if not _is_http_url(url):
        raise UsageError(
            "The orchestrator's URL must look like https://host or http://host:8000.",
            hint="Correct --url or BOT_RUNNER_URL.",
        )
    # A line break at the end is what `$(cat token)` and copying leave behind.
    token = (options.token or _first(environ, TOKEN_VARIABLES) or "").strip()
    if not token:
        raise AccessError("NO_TOKEN", "No client token is given.", hint="Set BOT_RUNNER_TOKEN.")
    if not (token.isascii() and token.isprintable()):
        raise AccessError(
            "INVALID_TOKEN",
            "The client token holds characters that a token cannot have, such as a line break.",
            hint="Set BOT_RUNNER_TOKEN again.",
        )
    return Connection(url, token, options.user)


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
