"""The pool of the bots' subnets: how many are left, and whether anything else uses its addresses."""

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.networks.pool import free_subnets
from bot_runner_worker.networks.prewarm import PREFIX_LENGTH

NAME = "network pool"

FEW = 32
"""Fewer subnets left than that are few; for a small pool, a quarter of it."""

_ROUTES = Path("/proc/net/route")


async def network_pool(here: CheckContext) -> Check:
    """Count the subnets, and look for others in the pool's addresses."""
    settings = here.settings
    if settings.network_mode == "shared":
        return Check(NAME, State.OK, f"not used: all bots share the network {settings.docker_network}")
    pool = settings.network_pool
    networks: list[dict[str, Any]] = await here.engine.json("GET", "networks")
    size = max(0, 1 << (PREFIX_LENGTH - pool.prefixlen)) if pool.prefixlen <= PREFIX_LENGTH else 0
    left = sum(1 for _ in free_subnets(pool, PREFIX_LENGTH, _subnets(networks)))
    finding = f"{pool}: {left} of {size} subnets are free"
    if left == 0:
        return Check(
            NAME, State.FAILED, f"{finding}: no bot starts", "Remove bots, or set a larger NETWORK_POOL."
        )
    if others := [*_foreign(networks, pool), *_routed(networks, pool)]:
        return Check(
            NAME,
            State.WARNING,
            f"{finding}; it overlaps with {', '.join(others[:5])}",
            "Set NETWORK_POOL to private addresses that nothing else here uses.",
        )
    if left < min(FEW, size / 4):
        return Check(NAME, State.WARNING, finding, "Set a larger NETWORK_POOL before it is empty.")
    return Check(NAME, State.OK, finding)


def _subnets(networks: Iterable[dict[str, Any]]) -> list[IPv4Network]:
    configs = (config for each in networks for config in (each.get("IPAM") or {}).get("Config") or ())
    subnets = (ip_network(config["Subnet"], strict=False) for config in configs if config.get("Subnet"))
    return [each for each in subnets if isinstance(each, IPv4Network)]


def _foreign(networks: Iterable[dict[str, Any]], pool: IPv4Network) -> Iterator[str]:
    """Docker networks in the pool that no runner made."""
    for each in networks:
        ours = NAMESPACE in (each.get("Labels") or {})
        if not ours and any(pool.overlaps(subnet) for subnet in _subnets([each])):
            yield f"the network {each['Name']}"


def _routed(networks: Iterable[dict[str, Any]], pool: IPv4Network) -> Iterator[str]:
    """Routes of this host's into the pool; those of Docker's own networks aside."""
    docker = _subnets(networks)
    for interface, target in host_routes():
        if target.prefixlen and target.overlaps(pool) and target not in docker:
            yield f"the route to {target} through {interface}"


def host_routes(table: Path = _ROUTES) -> Iterator[tuple[str, IPv4Network]]:
    """Interface and target of each route of this network namespace; nothing where they cannot be read.

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
