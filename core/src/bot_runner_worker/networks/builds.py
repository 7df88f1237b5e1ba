"""The network of all builds: without bots, closed between builds, open to the internet."""

import asyncio
import hashlib

from bot_runner_worker.engine import Engine
from bot_runner_worker.model.identity import NAMESPACE, ROLE
from bot_runner_worker.networks.pool import bridge_options, create_from_pool, create_missing
from bot_runner_worker.settings import Settings

_PREFIX_LENGTH = 26


class BuildNetwork:
    """Creates the network of builds when it is needed.

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
        """Create it unless it is there; returns its name.

        Raises:
            Unavailable: ``NETWORK_POOL_EMPTY``, ``ENGINE_DISK_FULL``, or ``ENGINE_FAILED``.
        """
        async with self._lock:
            await create_missing(self._engine, self.name, self._create)
        return self.name

    async def _create(self) -> None:
        namespace = self._settings.runner_namespace
        await create_from_pool(
            self._engine,
            self.name,
            pool=self._settings.network_pool,
            prefix_length=max(_PREFIX_LENGTH, self._settings.network_pool.prefixlen),
            labels={NAMESPACE: namespace, ROLE: "network"},
            options=bridge_options(
                self._settings.bridge_prefix, hashlib.sha256(f"{namespace}\0build".encode()).hexdigest()
            ),
            # The bots' small networks come from the beginning.
            from_the_end=True,
        )
