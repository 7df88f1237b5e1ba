"""The network of all builds: apart from the bots', closed between neighbours, open to the Internet."""

import asyncio
import hashlib

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import NAMESPACE, ROLE
from bot_runner_worker.networks.pool import bridge_options, create_from_pool, made_by_another_worker
from bot_runner_worker.settings import Settings

_PREFIX_LENGTH = 26


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
                    if not await made_by_another_worker(self._engine, self.name, error):
                        raise Unavailable(
                            Code.ENGINE_FAILED,
                            f"The network {self.name} cannot be created.",
                            hint="This is for the operator: see bot-runner-worker doctor.",
                            details={"reason": error.message[:500]},
                        ) from error
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
