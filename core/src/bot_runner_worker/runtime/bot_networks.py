"""The bots' networks: one for each bot, with a small subnet from the operator's pool, or one for all."""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import IPv4Network, ip_network

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.errors import Code, Unavailable
from bot_runner_worker.identity import NAMESPACE, ROLE, BotKey
from bot_runner_worker.settings import Settings

PREFIX_LENGTH = 29
"""Size of a bot's subnet: the gateway, the bot, and the bot that replaces it."""

_MAX_BRIDGE_NAME = 15  # IFNAMSIZ without its final NUL
_ICC = "com.docker.network.bridge.enable_icc"
_BRIDGE_NAME = "com.docker.network.bridge.name"
_MAX_COLLISIONS = 20


class BotNetworks:
    """Makes sure that a bot's network is there, and takes it away when the bot is gone.

    Args:
        engine: The Engine.
        settings: Name, mode and pool.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        # The Engine's own check for duplicates is no lock: two creations at once make two networks, and a
        # name that means two networks is refused at start.
        self._lock = asyncio.Lock()

    @property
    def _own(self) -> bool:
        return self._settings.network_mode == "own"

    def name(self, bot: BotKey) -> str:
        """The name of a bot's network."""
        settings = self._settings
        if not self._own:
            return settings.docker_network
        return f"{settings.docker_network}-{bot.digest(settings.runner_namespace)}"

    async def ensure(self, bot: BotKey) -> str:
        """Make sure that a bot's network is there; one that the operator made is used as it is.

        Returns:
            Its name.

        Raises:
            Unavailable: ``NETWORK_POOL_EMPTY``, or ``ENGINE_FAILED`` if it cannot be created.
        """
        name = self.name(bot)
        async with self._lock:
            if await networks.inspect(self._engine, name) is None:
                try:
                    await (self._create_own(name, bot) if self._own else self._create_shared(name))
                except EngineError as error:
                    raise Unavailable(
                        Code.ENGINE_FAILED,
                        f"The network {name} cannot be created.",
                        hint="This is for the operator: see bot-runner-worker doctor.",
                        details={"reason": error.message[:500]},
                    ) from error
        return name

    async def release(self, bot: BotKey) -> None:
        """Remove a bot's own network; while a container is still connected, it stays."""
        if self._own:
            await networks.remove(self._engine, self.name(bot))

    def _bridge(self, digest: str) -> str:
        # The names begin alike, so that one firewall rule can speak of all of them.
        return (self._settings.bridge_prefix + digest)[:_MAX_BRIDGE_NAME]

    async def _create_shared(self, name: str) -> None:
        labels = {NAMESPACE: self._settings.runner_namespace, ROLE: "network"}
        try:
            await networks.create_bridge(
                self._engine,
                name,
                labels=labels,
                options={_ICC: "false", _BRIDGE_NAME: self._bridge(sha256(name.encode()).hexdigest())},
            )
        except EngineError as error:
            if not error.conflict:
                raise

    async def _create_own(self, name: str, bot: BotKey) -> None:
        labels = bot.labels(self._settings.runner_namespace) | {ROLE: "network"}
        bridge = self._bridge(bot.digest(self._settings.runner_namespace))
        taken = [ip_network(subnet) for subnet in await networks.subnets(self._engine)]
        in_use = [each for each in taken if isinstance(each, IPv4Network)]
        for attempt, subnet in enumerate(_free_subnets(self._settings.network_pool, in_use)):
            try:
                await networks.create_bridge(
                    self._engine,
                    name,
                    labels=labels,
                    options={_ICC: "false", _BRIDGE_NAME: bridge},
                    subnet=str(subnet),
                )
            except EngineError as error:
                # Another worker took it meanwhile, or a route of the host's covers it.
                if "overlap" not in error.message.lower() or attempt == _MAX_COLLISIONS:
                    raise
            else:
                return
        raise Unavailable(
            Code.NETWORK_POOL_EMPTY,
            f"All networks of the pool {self._settings.network_pool} are taken.",
            hint="Try again later; the operator can set a larger NETWORK_POOL.",
            details={"pool": str(self._settings.network_pool)},
        )


def _free_subnets(pool: IPv4Network, in_use: list[IPv4Network]) -> Iterator[IPv4Network]:
    starts = {int(each.network_address) for each in in_use if each.prefixlen == PREFIX_LENGTH}
    larger = [each for each in in_use if each.prefixlen < PREFIX_LENGTH and each.overlaps(pool)]
    smaller = [each for each in in_use if each.prefixlen > PREFIX_LENGTH and each.overlaps(pool)]
    if pool.prefixlen > PREFIX_LENGTH:
        return
    for subnet in pool.subnets(new_prefix=PREFIX_LENGTH):
        if int(subnet.network_address) not in starts and not any(
            subnet.overlaps(each) for each in (*larger, *smaller)
        ):
            yield subnet
