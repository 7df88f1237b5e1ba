"""Public and private IP addresses."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's special-purpose registries of IPv4 and IPv6 addresses, and what clouds serve their metadata from.
# Listed besides is_global, whose answers differ between releases of Python (168.63.129.16 and 2002::/16 are
# global in 3.11.7).
_CLOSED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's host agent: a public address that is answered by the host itself
    )
)  # fmt: skip
_GLOBAL_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address can hide in it, and no server is reached only through it
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def parse_address(text: str) -> Address:
    """Parse an address as the resolver writes it, without its zone (``fe80::1%eth0``).

    Raises:
        ValueError: If it is none.
    """
    return ip_address(text.partition("%")[0])


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside a mapped or NAT64 (RFC 6052) one, or the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether an address, unwrapped, is a unicast address of the public Internet."""
    plain = unwrapped(address)
    if isinstance(plain, IPv4Address):
        return plain.is_global and not any(plain in network for network in _CLOSED_V4)
    return plain in _GLOBAL_V6 and plain.is_global and not any(plain in network for network in _CLOSED_V6)


def is_own(address: Address) -> bool:
    """Whether an address is one of this machine's, whose services may be private."""
    plain = unwrapped(address)
    family = socket.AF_INET if isinstance(plain, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Sends nothing; the kernel picks the address itself as the source if it is local.
            probe.connect((str(plain), 9))
            return parse_address(probe.getsockname()[0]) == plain
    except OSError:
        return False
