"""The host as its bots see it: addresses, ports on which something listens, and name servers."""

import asyncio
import fcntl
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

from bot_runner_worker.outbound.addresses import Address, parse_address

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_LISTENING = "0A"  # net/tcp_states.h
_ANY = {"0" * 8, "0" * 32}
_MAX_PORTS = 32


def bridge_address(name: str) -> IPv4Address | None:
    """The address of a bridge, which is its bots' gateway; ``None`` outside its network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, struct.pack("256s", name.encode()))
        except OSError:
            return None
    return IPv4Address(answer[20:24])


def primary_address() -> IPv4Address | None:
    """The address from which this host reaches the internet, if it has such a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        try:
            # An address of documentation: connecting a datagram socket looks up the route, and sends nothing.
            unsent.connect(("198.51.100.1", 9))
        except OSError:
            return None
        return IPv4Address(unsent.getsockname()[0])


def listening_ports(tables: Iterable[Path] = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))) -> list[int]:
    """The lowest TCP ports on which something listens on all of this host's addresses."""
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
    """Listen on a free TCP port of each address; yields the ports, where that is possible."""
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


def name_servers(root: Path = Path("/")) -> tuple[Address, ...]:
    """The name servers of this host and of the Engine's configuration, without the loopback's.

    They may be private and must stay open: the Engine's resolver in each container (127.0.0.11) passes
    questions on from the container's own network, through its bridge. Only what the host finds on its
    loopback is asked from the host (Engine 20.10).

    Args:
        root: Where the host's files are.
    """
    found = dict.fromkeys((*_engine_name_servers(root), *_host_name_servers(root)))
    return tuple(address for address in found if not address.is_loopback)


def _engine_name_servers(root: Path) -> Iterator[Address]:
    try:
        configuration = json.loads((root / "etc/docker/daemon.json").read_text())
    except (OSError, ValueError):
        return
    for text in configuration.get("dns") or () if isinstance(configuration, dict) else ():
        yield from _address(str(text))


def _host_name_servers(root: Path) -> Iterator[Address]:
    # systemd-resolved lists only itself in the first; the Engine then takes the second.
    for path in ("etc/resolv.conf", "run/systemd/resolve/resolv.conf"):
        try:
            lines = (root / path).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                yield from _address(words[1])


def _address(text: str) -> Iterator[Address]:
    try:
        yield parse_address(text)
    except ValueError:
        return
