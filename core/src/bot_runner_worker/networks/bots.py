"""The bots' networks: one for each bot, with a small subnet from the operator's pool, or one for all."""

import asyncio
from hashlib import sha256

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.errors import Code, Unavailable, disk_full
from bot_runner_worker.identity import NAMESPACE, ROLE, BotKey
from bot_runner_worker.networks.pool import bridge_options, create_from_pool, made_by_another_worker
from bot_runner_worker.settings import Settings

PREFIX_LENGTH = 29
"""Size of a bot's subnet: the gateway, the bot, and the bot that replaces it."""


class BotNetworks:
    """Makes sure that a bot's network is there, and takes it away when the bot is gone.

    Args:
        engine: The Engine.
        settings: Name, mode and pool.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
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
                    if error.disk_full:
                        raise disk_full(error.message) from error
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

    async def _create_shared(self, name: str) -> None:
        labels = {NAMESPACE: self._settings.runner_namespace, ROLE: "network"}
        options = bridge_options(self._settings.bridge_prefix, sha256(name.encode()).hexdigest())
        try:
            await networks.create_bridge(self._engine, name, labels=labels, options=options)
        except EngineError as error:
            if not await made_by_another_worker(self._engine, name, error):
                raise

    async def _create_own(self, name: str, bot: BotKey) -> None:
        namespace = self._settings.runner_namespace
        await create_from_pool(
            self._engine,
            name,
            pool=self._settings.network_pool,
            prefix_length=PREFIX_LENGTH,
            labels=bot.labels(namespace) | {ROLE: "network"},
            options=bridge_options(self._settings.bridge_prefix, bot.digest(namespace)),
        )
