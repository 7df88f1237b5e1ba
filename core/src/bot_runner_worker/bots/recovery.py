"""Making a bot's container run as it should again, and finishing what a killed worker left half-made."""

import logging

from bot_runner_worker.bots.container_config import NEXT, PREVIOUS
from bot_runner_worker.bots.container_state import ContainerState, Surveyor, principal
from bot_runner_worker.engine import Engine, EngineError, containers, networks
from bot_runner_worker.model.identity import ROLE, BotKey
from bot_runner_worker.networks.bots import BotNetworks

logger = logging.getLogger(__name__)

_NEVER_STARTED = ("created", "dead")


class Recovery:
    """Recovery one bot at a time; whoever calls holds the bot exclusively.

    Args:
        engine: The Engine.
        namespace: Whose bots.
        bot_networks: The bots' networks.
        surveyor: Looks at their containers.
    """

    def __init__(self, engine: Engine, namespace: str, bot_networks: BotNetworks, surveyor: Surveyor) -> None:
        self._engine = engine
        self._namespace = namespace
        self._networks = bot_networks
        self._surveyor = surveyor

    async def revive(self, sighting: ContainerState) -> None:
        """Make a container run, unpaused and connected to its network.

        Raises:
            EngineError: If the Engine cannot start or connect it.
            Unavailable: See :meth:`BotNetworks.ensure`.
        """
        record = sighting.record
        if not sighting.runs:
            await self.start(record.id, record.bot, record.network)
            # It may have been disconnected while it was down.
            again = await self._surveyor.look_at(record.bot)
            sighting = next((each for each in again if each.record.id == record.id), sighting)
        if sighting.state == "paused":
            await containers.unpause(self._engine, record.id)
        if not sighting.connected:
            await self._networks.ensure(record.bot, record.network)
            await networks.reconnect(self._engine, record.network, record.id)

    async def start(self, container: str, bot: BotKey, network: str) -> None:
        """Start a container; if its network was removed while it was down, make that first.

        Args:
            container: Its id.
            bot: Whose it is.
            network: Name of its network.

        Raises:
            EngineError: If the Engine cannot start it.
            Unavailable: See :meth:`BotNetworks.ensure`.
        """
        try:
            await containers.start(self._engine, container)
        except EngineError as error:
            if not error.not_found or await containers.inspect(self._engine, container) is None:
                raise
            await self._networks.ensure(bot, network)
            await networks.reconnect(self._engine, network, container)
            await containers.start(self._engine, container)

    async def settle(self, bot: BotKey, sightings: tuple[ContainerState, ...]) -> None:
        """Leave one container of a bot, under its name; a start that was not finished is undone.

        A replacement that has started stays, and the bot that gave way goes; without one, that bot comes
        back.

        Args:
            bot: The bot.
            sightings: All its containers.
        """
        name = bot.container_name(self._namespace)
        kept = principal((each for each in sightings if _has_started(each)), name)
        for each in sightings:
            if kept is None or each.record.id != kept.record.id:
                logger.info("removing %s: it is left over", each.record.name)
                await containers.remove(self._engine, each.record.id)
        if kept is None:
            for network in {each.record.network for each in sightings}:
                await self._networks.release(network)
            await self.release_networks(bot, ())
            return
        if kept.record.name != name:
            logger.info("%s is %s again", kept.record.name, name)
            await containers.rename(self._engine, kept.record.id, name)
        gave_way = kept.record.name == name + PREVIOUS
        if gave_way and kept.record.verdict is None and not kept.runs:
            # It was stopped to give way, and may have ended as if it were done.
            await self.start(kept.record.id, bot, kept.record.network)

    async def release_networks(self, bot: BotKey, sightings: tuple[ContainerState, ...]) -> None:
        """Remove the networks that were made for a bot, but those of its containers.

        Args:
            bot: The bot.
            sightings: All its containers.
        """
        used = {each.record.network for each in sightings}
        mine = {**bot.labels(self._namespace), ROLE: "network"}
        for network in await networks.list_by_labels(self._engine, mine):
            if network["Name"] not in used:
                await networks.remove(self._engine, network["Id"])


def _has_started(sighting: ContainerState) -> bool:
    return sighting.state not in _NEVER_STARTED and not sighting.record.name.endswith(NEXT)


def is_tidy(sightings: tuple[ContainerState, ...], name: str) -> bool:
    """Whether a bot has exactly one container, which has started, under its own name.

    Args:
        sightings: All its containers.
        name: The name that its container should have.
    """
    return len(sightings) == 1 and sightings[0].record.name == name and _has_started(sightings[0])
