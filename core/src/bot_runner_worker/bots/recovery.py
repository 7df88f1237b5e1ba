"""Recovery of a bot whose container does not run, or whose start was cut short."""

import logging

from bot_runner_worker.bots.container_config import PREVIOUS
from bot_runner_worker.bots.container_state import ContainerState, Inspector, principal
from bot_runner_worker.engine import Engine, EngineError, containers, networks
from bot_runner_worker.model.identity import ROLE, BotKey
from bot_runner_worker.networks.bots import BotNetworks

logger = logging.getLogger(__name__)


class Recovery:
    """Recovers one bot at a time; whoever calls holds the bot exclusively."""

    def __init__(
        self, engine: Engine, namespace: str, bot_networks: BotNetworks, inspector: Inspector
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._networks = bot_networks
        self._inspector = inspector

    async def revive(self, container: ContainerState) -> None:
        """Make a container run, unpaused and connected to its network."""
        record = container.record
        if not container.runs:
            await self.start(record.id, record.bot, record.network)
            # It may have been disconnected while it was down.
            again = await self._inspector.inspect(record.bot)
            container = next((each for each in again if each.record.id == record.id), container)
        if container.state == "paused":
            await containers.unpause(self._engine, record.id)
        if not container.connected:
            await self._networks.ensure(record.bot, record.network)
            await networks.reconnect(self._engine, record.network, record.id)

    async def start(self, container: str, bot: BotKey, network: str) -> None:
        """Start a container; if its network is gone, make that first."""
        try:
            await containers.start(self._engine, container)
        except EngineError as error:
            if not error.not_found or await containers.inspect(self._engine, container) is None:
                raise
            await self._networks.ensure(bot, network)
            await networks.reconnect(self._engine, network, container)
            await containers.start(self._engine, container)

    async def settle(self, bot: BotKey, found: tuple[ContainerState, ...]) -> None:
        """Leave one container of a bot, under its name.

        A start that was not finished is undone: a replacement that has started stays, and the bot that gave
        way goes; without one, that bot comes back.
        """
        name = bot.container_name(self._namespace)
        kept = principal((each for each in found if each.has_started), name)
        for each in found:
            if kept is None or each.record.id != kept.record.id:
                logger.info("removing %s: it is left over", each.record.name)
                await containers.remove(self._engine, each.record.id)
        if kept is None:
            for network in {each.record.network for each in found}:
                await self._networks.release(network)
            await self.release_networks(bot, ())
            return
        if kept.record.name != name:
            logger.info("%s is %s again", kept.record.name, name)
            await containers.rename(self._engine, kept.record.id, name)
        gave_way = kept.record.name == name + PREVIOUS
        if gave_way and kept.record.end_reason is None and not kept.runs:
            # It was stopped to give way, and may have ended as if it were done.
            await self.start(kept.record.id, bot, kept.record.network)

    async def release_networks(self, bot: BotKey, found: tuple[ContainerState, ...]) -> None:
        """Remove the networks that were made for a bot, but those of its containers."""
        used = {each.record.network for each in found}
        mine = {**bot.labels(self._namespace), ROLE: "network"}
        for network in await networks.list_by_labels(self._engine, mine):
            if network["Name"] not in used:
                await networks.remove(self._engine, network["Id"])
