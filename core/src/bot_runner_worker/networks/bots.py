"""The bots' networks: one for each bot, with a small subnet from the operator's pool, or one for all."""

import asyncio
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.model.errors import Code, Unavailable, disk_full
from bot_runner_worker.model.identity import NAMESPACE, ROLE, BotKey
from bot_runner_worker.networks.pool import bridge_options, create_from_pool, made_by_another_worker
from bot_runner_worker.networks.prewarm import PREFIX_LENGTH, PrewarmedNetworks
from bot_runner_worker.settings import Settings


class BotNetworks:
    """Makes sure that a bot's network is there, and takes it away when the bot is gone.

    A bot's network is the one that its container names: one that was made ahead, or one with a name of the
    bot's own.

    Args:
        engine: The Engine.
        settings: Name, mode and pool.
        ahead: Networks that lie ready.
    """

    def __init__(self, engine: Engine, settings: Settings, ahead: PrewarmedNetworks | None = None) -> None:
        self._engine = engine
        self._settings = settings
        self._ahead = ahead
        self._lock = asyncio.Lock()

    @property
    def _own(self) -> bool:
        return self._settings.network_mode == "own"

    def is_own(self, name: str) -> bool:
        """Whether this is the name of one bot's network, and not of one that others share."""
        prefix = f"{self._settings.docker_network}-"
        return name.startswith(prefix) and name != f"{prefix}build"

    def choose(self, bot: BotKey, before: str = "") -> str:
        """The name of the network for a new container of a bot; see :meth:`ensure` and :meth:`let_go`.

        Args:
            bot: The bot.
            before: The network of the container that the new one replaces.
        """
        settings = self._settings
        if not self._own:
            return settings.docker_network
        if self.is_own(before):
            return before
        ready = self._ahead.take() if self._ahead is not None else None
        return ready or f"{settings.docker_network}-{bot.digest(settings.runner_namespace)}"

    def starting(self) -> AbstractContextManager[None]:
        """While the context lasts, a bot is being started: no network is made ahead meanwhile."""
        return nullcontext() if self._ahead is None else self._ahead.starting()

    def let_go(self, name: str) -> None:
        """A network that was chosen has its container by now, or is not needed any more."""
        if self._ahead is not None:
            self._ahead.let_go(name)

    async def ensure(self, bot: BotKey, name: str) -> None:
        """Make sure that a bot's network is there; one that the operator made is used as it is.

        Raises:
            Unavailable: ``NETWORK_POOL_EMPTY``, or ``ENGINE_FAILED`` if it cannot be created.
        """
        if self._ahead is not None and self._ahead.has(name):
            return
        async with self._lock:
            if await networks.inspect(self._engine, name) is None:
                try:
                    await (self._create_own(name, bot) if self.is_own(name) else self._create_shared(name))
                except EngineError as error:
                    if error.disk_full:
                        raise disk_full(error.message) from error
                    raise Unavailable(
                        Code.ENGINE_FAILED,
                        f"The network {name} cannot be created.",
                        hint="This is for the operator: see bot-runner-worker doctor.",
                        details={"reason": error.message[:500]},
                    ) from error

    async def release(self, name: str) -> None:
        """Remove a bot's own network; while a container is still connected, it stays."""
        if self.is_own(name):
            await networks.remove(self._engine, name)

    async def _create_shared(self, name: str) -> None:
        labels = {NAMESPACE: self._settings.runner_namespace, ROLE: "network"}
        options = bridge_options(self._settings.bridge_prefix, sha256(name.encode()).hexdigest())
        try:
            await networks.create_bridge(self._engine, name, labels=labels, options=options)
        except EngineError as error:
            if not await made_by_another_worker(self._engine, name, error):
                raise

    async def _create_own(self, name: str, bot: BotKey) -> None:
        await create_from_pool(
            self._engine,
            name,
            pool=self._settings.network_pool,
            prefix_length=PREFIX_LENGTH,
            labels=bot.labels(self._settings.runner_namespace) | {ROLE: "network"},
            options=bridge_options(self._settings.bridge_prefix, name.rpartition("-")[2]),
        )
