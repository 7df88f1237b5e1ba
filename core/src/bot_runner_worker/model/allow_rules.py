"""Entries of ``FIREWALL_ALLOW``: exceptions from the addresses that the firewall closes."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

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
