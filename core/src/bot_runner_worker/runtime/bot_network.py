"""The network that bots share: neighbours cannot reach each other on it."""

import asyncio

from bot_runner_worker.engine import Engine, EngineError, networks
from bot_runner_worker.errors import Code, Unavailable
from bot_runner_worker.identity import NAMESPACE, ROLE
from bot_runner_worker.settings import Settings


class BotNetwork:
    """Makes sure that ``DOCKER_NETWORK`` is there; a network that the operator made is used as it is.

    Args:
        engine: The Engine.
        settings: Name and namespace.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        # The Engine's own check for duplicates is no lock: two creations at once make two networks, and a
        # name that means two networks is refused at start.
        self._lock = asyncio.Lock()

    async def ensure(self) -> None:
        """Create the network if it is not there.

        Raises:
            Unavailable: ``ENGINE_FAILED`` if it cannot be created.
        """
        name = self._settings.docker_network
        async with self._lock:
            if await networks.inspect(self._engine, name) is not None:
                return
            try:
                await networks.create_bridge(
                    self._engine,
                    name,
                    labels={NAMESPACE: self._settings.runner_namespace, ROLE: "network"},
                    options={"com.docker.network.bridge.enable_icc": "false"},
                )
            except EngineError as error:
                raise Unavailable(
                    Code.ENGINE_FAILED,
                    f"The bots' network {name} cannot be created.",
                    hint="This is for the operator: see bot-runner-worker doctor.",
                    details={"reason": error.message[:500]},
                ) from error
