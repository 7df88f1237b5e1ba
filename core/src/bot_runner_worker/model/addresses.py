"""Addresses in settings: host patterns, and exceptions from what the firewall closes."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator

PUBLIC_REGISTRIES = (
    "docker.io", "ghcr.io", "quay.io", "registry.gitlab.com", "public.ecr.aws", "mcr.microsoft.com",
    "gcr.io", "*.gcr.io", "*.pkg.dev", "*.azurecr.io", "*.dkr.ecr.*.amazonaws.com", "cr.yandex",
    "registry.k8s.io", "registry.digitalocean.com", "lscr.io",
)  # fmt: skip
"""Well-known registries. Not simply all: the Engine follows a registry to any address (a blob's redirect, the
realm of its tokens, to which it even sends on what it gets there), and reads an answer of any size into its
memory (both seen on 20.10). So whoever runs a registry must be trusted that far."""

_LABELS = r"[a-z0-9_*]([a-z0-9_.*-]*[a-z0-9_*])?"
_PATTERN = re.compile(rf"(?!.*\.\.)({_LABELS}|\[[0-9a-f:.]+\])(:\d{{1,5}})?|[0-9a-f]*:[0-9a-f:.]+")


def checked_pattern(text: str) -> str:
    """Check a pattern for hosts; returns it in lower case.

    Raises:
        ValueError: If it has a scheme, a path, or a character that no host has.
    """
    pattern = text.strip().lower()
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f"{text!r} is no host; write example.com, *.example.com or example.com:5000")
    return pattern


HostPattern = Annotated[str, AfterValidator(checked_pattern)]
"""A pydantic field with one entry of a list of hosts."""


class HostList:
    """A list of host patterns.

    ``*.example.com`` matches each host below it; ``*`` inside a name matches any part without a dot.

    Args:
        patterns: As :func:`checked_pattern` returns them.
    """

    def __init__(self, patterns: Collection[str]) -> None:
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._wild = [_compiled(pattern) for pattern in patterns if "*" in pattern]

    def __bool__(self) -> bool:
        return bool(self._exact or self._wild)

    def names(self, host: str) -> bool:
        """Whether the host is listed by its exact name."""
        return host in self._exact

    def covers(self, host: str) -> bool:
        """Whether the host is listed by name or by a pattern."""
        return self.names(host) or any(wild.fullmatch(host) for wild in self._wild)


def _compiled(pattern: str) -> re.Pattern[str]:
    head, rest = (".*", pattern[1:]) if pattern.startswith("*") else ("", pattern)
    return re.compile(head + "[^.]*".join(map(re.escape, rest.split("*"))))


def without_credentials(url: str) -> str:
    """An address without user and password, such as a proxy's; it may lack its scheme."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path


_WITH_PORT = re.compile(r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>[^:\[\]]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class AllowRule:
    """Addresses that stay open, on one port or on all.

    Args:
        network: The addresses.
        port: A port of TCP and UDP; ``None`` for everything, other protocols included.
    """

    network: IPv4Network | IPv6Network
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``10.1.2.3``, ``10.1.0.0/16:443``, ``fd00::/8`` or ``[fd00::1]:443``.

        Raises:
            ValueError: If it is none of these.
        """
        found = _WITH_PORT.fullmatch(text)
        network, port = text.strip("[]"), None
        if found:
            network, port = found["bracketed"] or found["plain"], int(found["port"])
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"{text!r}: a port is between 1 and 65535")
        return cls(ip_network(network), port)

    def covers(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Whether it opens a port of an address."""
        return address in self.network and self.port in (None, port)

    def __str__(self) -> str:
        if self.port is None:
            return str(self.network)
        return f"[{self.network}]:{self.port}" if self.network.version == 6 else f"{self.network}:{self.port}"


def _parsed(value: Any) -> Any:
    return AllowRule.parse(value) if isinstance(value, str) else value


AllowRuleField = Annotated[AllowRule, BeforeValidator(_parsed)]
"""A pydantic field with one entry of the list."""
