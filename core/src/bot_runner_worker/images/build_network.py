"""The network of all builds: apart from the bots', closed between neighbours, open to the Internet."""

import asyncio
import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.errors import Code, Unavailable
from bot_runner_worker.identity import NAMESPACE, ROLE
from bot_runner_worker.settings import Settings

_PREFIX_LENGTH = 26
_MAX_COLLISIONS = 20


class BuildNetwork:
    """Makes sure that the network of builds is there.

    Args:
        engine: The Engine.
        settings: Names and the pool of addresses.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._lock = asyncio.Lock()
        self.name = f"{settings.docker_network}-build"

    async def ensure(self) -> str:
        """Make sure that it is there, and return its name.

        Raises:
            Unavailable: ``NETWORK_POOL_EMPTY``, or ``ENGINE_FAILED`` if it cannot be created.
        """
        async with self._lock:
            if await networks.inspect(self._engine, self.name) is None:
                try:
                    await self._create()
                except EngineError as error:
                    # Another worker may have made it meanwhile.
                    if not error.conflict:
                        raise Unavailable(
                            Code.ENGINE_FAILED,
                            f"The network {self.name} cannot be created.",
                            hint="This is for the operator: see bot-runner-worker doctor.",
                            details={"reason": error.message[:500]},
                        ) from error
        return self.name

    async def _create(self) -> None:
        namespace = self._settings.runner_namespace
        digest = hashlib.sha256(f"{namespace}\0build".encode()).hexdigest()
        options = {
            "com.docker.network.bridge.enable_icc": "false",
            # The bots' prefix: one firewall rule closes the host to both.
            "com.docker.network.bridge.name": self._settings.bridge_prefix + digest[:10],
        }
        taken = [ip_network(subnet) for subnet in await networks.subnets(self._engine)]
        in_use = [each for each in taken if isinstance(each, IPv4Network)]
        for attempt, subnet in enumerate(_free_subnets(self._settings.network_pool, in_use)):
            try:
                await networks.create_bridge(
                    self._engine,
                    self.name,
                    labels={NAMESPACE: namespace, ROLE: "network"},
                    options=options,
                    subnet=str(subnet),
                )
            except EngineError as error:
                if "overlap" not in error.message.lower() or attempt == _MAX_COLLISIONS:
                    raise
            else:
                return
        raise Unavailable(
            Code.NETWORK_POOL_EMPTY,
            f"All networks of the pool {self._settings.network_pool} are taken.",
            hint="Try again later; the operator can set a larger NETWORK_POOL.",
        )


def _free_subnets(pool: IPv4Network, in_use: list[IPv4Network]) -> Iterator[IPv4Network]:
    # From the end: the bots' small networks come from the beginning.
    size = 1 << (32 - max(_PREFIX_LENGTH, pool.prefixlen))
    taken = [each for each in in_use if each.overlaps(pool)]
    for start in range(int(pool.broadcast_address) + 1 - size, int(pool.network_address) - 1, -size):
        subnet = IPv4Network((start, max(_PREFIX_LENGTH, pool.prefixlen)))
        if not any(subnet.overlaps(each) for each in taken):
            yield subnet
