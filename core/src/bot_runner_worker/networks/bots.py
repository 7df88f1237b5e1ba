"""The bots' networks: one for each bot, with a small subnet from the operator's pool, or one for all."""

import asyncio
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from hashlib import sha256

from bot_runner_worker.engine import Engine, networks
from bot_runner_worker.model.identity import NAMESPACE, ROLE, BotKey
from bot_runner_worker.networks.pool import bridge_options, create_from_pool, create_missing
from bot_runner_worker.networks.prewarm import PREFIX_LENGTH, PrewarmedNetworks
from bot_runner_worker.settings import Settings


class BotNetworks:
    """Chooses, creates and removes the networks of bots.

    A bot's network is the one that its container names: a prewarmed one, or one that is named after the bot.

    Args:
        engine: The Engine.
        settings: Name, mode and pool.
        prewarmed: Networks that are ready.
    """

    def __init__(
        self, engine: Engine, settings: Settings, prewarmed: PrewarmedNetworks | None = None
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._prewarmed = prewarmed
        self._lock = asyncio.Lock()

    def is_own(self, name: str) -> bool:
        """Whether this is the name of one bot's network, and not of a shared one."""
        return name.startswith(f"{self._settings.docker_network}-")

    def choose(self, bot: BotKey, before: str = "") -> str:
        """The name of the network for a bot's new container; see :meth:`ensure` and :meth:`let_go`.

        Args:
            bot: The bot.
            before: The network of the container that the new one replaces.
        """
        settings = self._settings
        if settings.network_mode != "own":
            return settings.docker_network
        if self.is_own(before):
            return before
        ready = self._prewarmed.take() if self._prewarmed is not None else None
        return ready or f"{settings.docker_network}-{bot.digest(settings.runner_namespace)}"

    def starting(self) -> AbstractContextManager[None]:
        """A context in which a bot is started, and no network is prewarmed."""
        return nullcontext() if self._prewarmed is None else self._prewarmed.starting()

    def let_go(self, name: str) -> None:
        """Say that a chosen network has its container, or is not needed any more."""
        if self._prewarmed is not None:
            self._prewarmed.let_go(name)

    async def ensure(self, bot: BotKey, name: str) -> None:
        """Create a bot's network unless it is there; one that the operator made is used as it is.

        Raises:
            Unavailable: ``NETWORK_POOL_EMPTY``, ``ENGINE_DISK_FULL``, or ``ENGINE_FAILED``.
        """
        if self._prewarmed is not None and self._prewarmed.has(name):
            return
        own = self.is_own(name)
        create = partial(self._create_own, name, bot) if own else partial(self._create_shared, name)
        async with self._lock:
            await create_missing(self._engine, name, create)

    async def release(self, name: str) -> None:
        """Remove a bot's own network; while a container is still connected, it stays."""
        if self.is_own(name):
            await networks.remove(self._engine, name)

    async def _create_shared(self, name: str) -> None:
        labels = {NAMESPACE: self._settings.runner_namespace, ROLE: "network"}
        options = bridge_options(self._settings.bridge_prefix, sha256(name.encode()).hexdigest())
        await networks.create_bridge(self._engine, name, labels=labels, options=options)

    async def _create_own(self, name: str, bot: BotKey) -> None:
        await create_from_pool(
            self._engine,
            name,
            pool=self._settings.network_pool,
            prefix_length=PREFIX_LENGTH,
            labels=bot.labels(self._settings.runner_namespace) | {ROLE: "network"},
            options=bridge_options(self._settings.bridge_prefix, name.rpartition("-")[2]),
        )
