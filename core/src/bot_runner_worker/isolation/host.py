"""The host as its bots could see it: addresses, and ports on which something listens."""

import asyncio
import fcntl
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_LISTENING = "0A"  # net/tcp_states.h
_ANY = {"0" * 8, "0" * 32}
_MAX_PORTS = 32


def bridge_address(name: str) -> IPv4Address | None:
    """The address of a bridge: its bots' gateway. ``None`` if it is not in this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()))
        except OSError:
            return None
    return IPv4Address(answer[20:24])


def primary_address() -> IPv4Address | None:
    """The address with which this host goes to the internet, if it has such a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        try:
            # Of documentation; connecting a datagram socket looks up the route and sends nothing.
            unsent.connect(("198.51.100.1", 9))
        except OSError:
            return None
        return IPv4Address(unsent.getsockname()[0])


def listening_ports(tables: Iterable[Path] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))) -> list[int]:
    """TCP ports on which something listens on all of this host's addresses, the lowest ones first."""
    ports = set()
    for table in tables:
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            _, local, _, state, *_ = row.split()
            address, _, port = local.partition(":")
            if state == _LISTENING and address in _ANY:
                ports.add(int(port, 16))
    return sorted(ports)[:_MAX_PORTS]


@asynccontextmanager
async def listening(addresses: Iterable[IPv4Address]) -> AsyncIterator[dict[IPv4Address, int]]:
    """Listen on a free TCP port of each address; yields the ports of those where that is possible."""
    async with AsyncExitStack() as stack:
        ports = {}
        for address in addresses:
            try:
                server = await asyncio.start_server(_hang_up, str(address), 0)
            except OSError:
                continue
            await stack.enter_async_context(server)
            ports[address] = server.sockets[0].getsockname()[1]
        yield ports


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
