"""A strict parser of tenants' URLs: what is checked is what is connected."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from bot_runner_worker.model.errors import Rejected

DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_LENGTH = 2048
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Names with underscores exist. All notations of an IPv4 address (127.1, 0x7f000001) are left to the resolver,
# and its answer is checked.
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_IPV6 = re.compile(r"[0-9a-f:.]+")


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A parsed URL.

    Args:
        scheme: In lower case.
        host: In lower case, without brackets, ASCII only.
        port: The given one, or the scheme's default; 0 for a scheme without one.
        target: Path and query, as they were given.
        username: Decoded, empty if there is none.
        password: Decoded, empty if there is none.
    """

    scheme: str
    host: str
    port: int
    target: str = "/"
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port: the server that credentials may be sent to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.has_default_port else f":{self.port}")

    @property
    def has_default_port(self) -> bool:
        """Whether the port is the scheme's default."""
        return self.port == DEFAULT_PORTS.get(self.scheme, 0)

    @property
    def without_credentials(self) -> str:
        """The URL as it may be requested and shown; its query may still hold a secret."""
        return self.origin + self.target


def parse_url(url: str, *, code: str, field: str) -> SourceUrl:
    """Parse a tenant's URL.

    Args:
        url: ``https://host/path`` or the like.
        code: Code of the error.
        field: The request's field, for the error; the URL itself is never repeated, it may hold a password.

    Raises:
        Rejected: If it is relative, or two programs might read it differently: white space, control
            characters, backslashes, other scripts' letters and digits, ``$``, a zone, a port of 0.
    """

    def reject(reason: str, hint: str = "") -> Rejected:
        return Rejected(
            code,
            f"{field} {reason}.",
            hint=hint or "Give a full address, such as https://example.com/path.",
            details={"field": field},
        )

    if len(url) > _MAX_LENGTH:
        raise reject(f"is longer than {_MAX_LENGTH} characters")
    if not url.isascii():
        raise reject(
            "holds characters that are not ASCII",
            "Write the host in its xn-- form and percent-encode the rest.",
        )
    if not url.isprintable() or any(char in ' $\\^`{|}<>"' for char in url):
        raise reject("holds characters that an address cannot have")
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise reject("is no address with a scheme")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise reject("is no valid address") from None
    host = (parts.hostname or "").removesuffix(".")
    bracketed = "[" in parts.netloc.rpartition("@")[2]
    if not (_IPV6 if bracketed else _HOST_NAME).fullmatch(host) or ".." in host:
        raise reject("names no host")
    if port == 0 or parts.netloc.rpartition("@")[2].endswith(":"):
        raise reject("has no valid port")
    if parts.fragment or url.endswith("#"):
        raise reject("has a fragment, which is never sent", "Leave out # and what follows it.")
    query = f"?{parts.query}" if parts.query else ""
    return SourceUrl(
        scheme=parts.scheme,
        host=host,
        port=port or DEFAULT_PORTS.get(parts.scheme, 0),
        target=(parts.path or "/") + query,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
