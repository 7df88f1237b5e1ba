"""Checks of networks: the pool of subnets, the bots' isolation, the address of ``/health``."""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any

import aiohttp

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import (
    CheckResult,
    State,
    failed,
    isolation_result,
    ok,
    warning,
)
from bot_runner_worker.isolation.firewall import NO_LIMITS, Firewall, FirewallError, rules_of
from bot_runner_worker.isolation.guard import IsolationGuard
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.networks.pool import free_subnets
from bot_runner_worker.networks.prewarm import PREFIX_LENGTH

FEW = 32
"""Fewer free subnets than that are few; in a small pool, a quarter of it."""

_ROUTES = Path("/proc/net/route")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (recognised, not listened on)


async def pool(context: CheckContext) -> CheckResult:
    """Count the free subnets of the pool, and look for others that use its addresses."""
    settings = context.settings
    if settings.network_mode == "shared":
        return ok(f"not used: all bots share the network {settings.docker_network}")
    addresses = settings.network_pool
    networks: list[dict[str, Any]] = await context.engine.json("GET", "networks")
    size = max(0, 1 << (PREFIX_LENGTH - addresses.prefixlen)) if addresses.prefixlen <= PREFIX_LENGTH else 0
    left = sum(1 for _ in free_subnets(addresses, PREFIX_LENGTH, _subnets(networks)))
    finding = f"{addresses}: {left} of {size} subnets are free"
    if left == 0:
        return failed(f"{finding}: no bot starts", "Remove bots, or set a larger NETWORK_POOL.")
    if others := [*_foreign(networks, addresses), *_routed(networks, addresses)]:
        return warning(
            f"{finding}; it overlaps with {', '.join(others[:5])}",
            "Set NETWORK_POOL to private addresses that nothing else here uses.",
        )
    if left < min(FEW, size / 4):
        return warning(finding, "Set a larger NETWORK_POOL before it is empty.")
    return ok(finding)


def _subnets(networks: Iterable[dict[str, Any]]) -> list[IPv4Network]:
    configs = (config for each in networks for config in (each.get("IPAM") or {}).get("Config") or ())
    found = [ip_network(config["Subnet"], strict=False) for config in configs if config.get("Subnet")]
    return [each for each in found if isinstance(each, IPv4Network)]


def _foreign(networks: Iterable[dict[str, Any]], addresses: IPv4Network) -> Iterator[str]:
    """Docker networks in the pool that no runner made."""
    for each in networks:
        ours = NAMESPACE in (each.get("Labels") or {})
        if not ours and any(addresses.overlaps(subnet) for subnet in _subnets([each])):
            yield f"the network {each['Name']}"


def _routed(networks: Iterable[dict[str, Any]], addresses: IPv4Network) -> Iterator[str]:
    """Routes of this host into the pool, without those of Docker's own networks."""
    docker = _subnets(networks)
    for interface, target in host_routes():
        if target.prefixlen and target.overlaps(addresses) and target not in docker:
            yield f"the route to {target} through {interface}"


def host_routes(table: Path = _ROUTES) -> Iterator[tuple[str, IPv4Network]]:
    """Interface and target of each route of this network namespace; nothing if they cannot be read.

    Args:
        table: In the form of ``/proc/net/route``: little-endian hexadecimal.
    """
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return
    for row in rows:
        interface, target, *rest = row.split()
        address, mask = (IPv4Address(struct.pack("<L", int(each, 16))) for each in (target, rest[5]))
        yield interface, IPv4Network((int(address), int(mask).bit_count()))


async def isolation(context: CheckContext) -> CheckResult:
    """Find out, as the worker does, whether the bots are closed off from the host."""
    found = await IsolationGuard(context.engine, context.settings).look()
    result = isolation_result(found, context.settings)
    with suppress(FirewallError):
        if result.state is State.OK and Firewall(rules_of(context.settings)).lacks_limits():
            return warning(result.finding, NO_LIMITS)
    return result


async def health_address(context: CheckContext) -> CheckResult:
    """Listen at the address of ``/health`` for a moment; if it is taken, ask who has it."""
    address = context.settings.health_address
    if address == "off":
        return ok("off: nothing tells how the worker is", "Set HEALTH_ADDRESS to have it watched.")
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        # As asyncio's servers do: not held up by connections of a worker that has just ended.
        with socket.create_server(
            (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        ):
            return ok(f"{address} is free: no worker is running here")
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) != errno.EADDRINUSE:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            return failed(f"{address}: {reason}", "Choose another HEALTH_ADDRESS, or off.")
    worker = await _worker_at(host, port)
    if worker is None:
        # The worker refuses to start only for an address that the operator chose.
        taken = failed if "health_address" in context.settings.model_fields_set else warning
        return taken(f"{address} is taken by another program", "Choose another HEALTH_ADDRESS, or off.")
    return ok(f"the worker {worker} answers at {address}")


async def _worker_at(host: str, port: str) -> str | None:
    """The id of the worker that answers there."""
    host = _WILDCARDS.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/health"
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return str((await response.json())["worker_id"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        return None
