"""Bridge networks whose addresses are taken from the operator's pool."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, ip_network

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.model.errors import Code, Unavailable

_MAX_BRIDGE_NAME = 15  # IFNAMSIZ of Linux, without the end
_MAX_COLLISIONS = 20
_LOOKS = 10
_LOOK_SECONDS = 0.1


def bridge_options(prefix: str, digest: str) -> dict[str, str]:
    """Driver options of a bridge that is closed between neighbours.

    Args:
        prefix: Beginning of the bridge's name on the host; alike for all, so that one firewall rule can speak
            of all of them.
        digest: Tells it from the others.
    """
    return {
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.name": (prefix + digest[:10])[:_MAX_BRIDGE_NAME],
    }


def free_subnets(
    pool: IPv4Network, prefix_length: int, in_use: Iterable[IPv4Network], *, from_the_end: bool = False
) -> Iterator[IPv4Network]:
    """The subnets of a pool that overlap with nothing in use.

    Args:
        pool: Where they are taken from.
        prefix_length: Their size; a smaller pool has none of them.
        in_use: Networks of any size.
        from_the_end: Begin with the last one.
    """
    if pool.prefixlen > prefix_length:
        return
    size = 1 << (32 - prefix_length)
    starts = range(int(pool.network_address), int(pool.broadcast_address) + 1, size)
    near = [each for each in in_use if each.overlaps(pool)]
    equal = {int(each.network_address) for each in near if each.prefixlen == prefix_length}
    others = [each for each in near if each.prefixlen != prefix_length]
    for start in reversed(starts) if from_the_end else starts:
        if start in equal:
            continue
        subnet = IPv4Network((start, prefix_length))
        if not any(subnet.overlaps(each) for each in others):
            yield subnet


async def made_by_another_worker(engine: Engine, name: str, error: EngineError) -> bool:
    """Whether creating a network failed because another worker was creating it at the same time.

    The Engine's check for duplicate names is no lock: two creations at once can make two networks of one
    name, which is refused at start. Its check for duplicate bridges is one, and the name of a bridge follows
    from that of its network.

    Args:
        engine: The Engine.
        name: The network's name.
        error: What the creation failed with.
    """
    if not (error.conflict or error.status == 403):
        return False
    for _ in range(_LOOKS):
        if await networks.inspect(engine, name) is not None:
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


async def create_from_pool(
    engine: Engine,
    name: str,
    *,
    pool: IPv4Network,
    prefix_length: int,
    labels: Mapping[str, str],
    options: Mapping[str, str],
    from_the_end: bool = False,
) -> None:
    """Create a bridge network with a free subnet of the pool.

    Raises:
        EngineError: 409 if the name is taken.
        Unavailable: ``NETWORK_POOL_EMPTY``.
    """
    taken = [ip_network(subnet) for subnet in await networks.subnets(engine)]
    in_use = [each for each in taken if isinstance(each, IPv4Network)]
    free = free_subnets(pool, prefix_length, in_use, from_the_end=from_the_end)
    for attempt, subnet in enumerate(free):
        try:
            await networks.create_bridge(engine, name, labels=labels, options=options, subnet=str(subnet))
        except EngineError as error:
            # Another worker took it meanwhile, or a route of the host's covers it.
            if "overlap" not in error.message.lower() or attempt == _MAX_COLLISIONS:
                raise
        else:
            return
    raise Unavailable(
        Code.NETWORK_POOL_EMPTY,
        f"All networks of the pool {pool} are taken.",
        hint="Try again later; the operator can set a larger NETWORK_POOL.",
        details={"pool": str(pool)},
    )
