"""Bridge networks with subnets of the operator's pool."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, ip_network

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.model.errors import Code, Unavailable, disk_full

_MAX_BRIDGE_NAME = 15  # IFNAMSIZ of Linux, without the end
_MAX_COLLISIONS = 20
_LOOKS = 10
_LOOK_SECONDS = 0.1


def bridge_options(prefix: str, digest: str) -> dict[str, str]:
    """Driver options of a bridge whose containers do not reach one another.

    Args:
        prefix: Beginning of the bridge's name on the host, which the firewall's rules match.
        digest: The rest of the name.
    """
    return {
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.name": (prefix + digest[:10])[:_MAX_BRIDGE_NAME],
    }


def free_subnets(
    pool: IPv4Network, prefix_length: int, in_use: Iterable[IPv4Network]
) -> Iterator[IPv4Network]:
    """The subnets of a pool that overlap with no network in use.

    Args:
        pool: The pool.
        prefix_length: Their size; a smaller pool has none of them.
        in_use: Networks of any size.
    """
    if pool.prefixlen > prefix_length:
        return
    size = 1 << (32 - prefix_length)
    starts = range(int(pool.network_address), int(pool.broadcast_address) + 1, size)
    near = [each for each in in_use if each.overlaps(pool)]
    equal = {int(each.network_address) for each in near if each.prefixlen == prefix_length}
    others = [each for each in near if each.prefixlen != prefix_length]
    for start in starts:
        if start in equal:
            continue
        subnet = IPv4Network((start, prefix_length))
        if not any(subnet.overlaps(each) for each in others):
            yield subnet


async def create_missing(engine: Engine, name: str, create: Callable[[], Awaitable[None]]) -> None:
    """Create a network unless it is there.

    Args:
        engine: The Engine.
        name: The network's name.
        create: Creates it.

    Raises:
        Unavailable: ``NETWORK_POOL_EMPTY``, ``ENGINE_DISK_FULL``, or ``ENGINE_FAILED``.
    """
    if await networks.inspect(engine, name) is not None:
        return
    try:
        await create()
    except EngineError as error:
        if error.disk_full:
            raise disk_full() from error
        if not await _created_meanwhile(engine, name, error):
            raise Unavailable(
                Code.ENGINE_FAILED,
                f"The network {name} cannot be created.",
                hint="This is for the operator: see bot-runner-worker doctor.",
            ) from error


async def _created_meanwhile(engine: Engine, name: str, error: EngineError) -> bool:
    """Whether a creation failed because another process was creating the network at the same time.

    The Engine's check for duplicate names is no lock: two creations at once can make two networks of one
    name, which is refused at start. Its check for duplicate bridges is one, and the name of a bridge follows
    from that of its network.
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
) -> None:
    """Create a bridge network with a free subnet of the pool.

    Raises:
        EngineError: 409 if the name is taken.
        Unavailable: ``NETWORK_POOL_EMPTY``.
    """
    taken = [ip_network(subnet) for subnet in await networks.subnets(engine)]
    in_use = [each for each in taken if isinstance(each, IPv4Network)]
    free = free_subnets(pool, prefix_length, in_use)
    for attempt, subnet in enumerate(free):
        try:
            await networks.create_bridge(engine, name, labels=labels, options=options, subnet=str(subnet))
        except EngineError as error:
            # Another process took it meanwhile, or a route of the host covers it.
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
