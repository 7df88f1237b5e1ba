"""What the Engine has of each bot, and in what state: what the supervisor judges by."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from bot_runner_worker.bots.container_config import NEXT, PREVIOUS
from bot_runner_worker.bots.records import moment, record_of_inspection
from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE, ROLE, BotKey
from bot_runner_worker.model.spec import BotRecord

INSPECTIONS_AT_ONCE = 8

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container of a bot.

    Args:
        record: The bot as this container has it.
        state: The Engine's word: ``created``, ``running``, ``paused``, ``restarting``, ``exited`` …
        created_at: When the container was made.
        connected: Whether it has its network; only a container that runs can miss it.
        row: What the list of containers says about it; as long as that stays the same and no event tells of
            a change, so does the rest.
    """

    record: BotRecord
    state: str
    created_at: datetime | None
    connected: bool
    row: tuple[Any, ...]

    @property
    def runs(self) -> bool:
        """Whether there is a process, or the Engine is about to start one."""
        return self.state in ("running", "paused", "restarting")


Survey = Mapping[BotKey, tuple[ContainerState, ...]]
"""All containers of each bot."""


class Surveyor:
    """Looks at the bots' containers: one list, and one inspection for each that may have changed.

    Args:
        engine: The Engine.
        namespace: Whose bots.
        read: Adds to a container's description what is known of it besides.
    """

    def __init__(
        self, engine: Engine, namespace: str, read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._read = read

    async def survey(self, known: Mapping[str, ContainerState]) -> Survey:
        """Look at all bots.

        Args:
            known: Sightings that hold unless the list says otherwise, by container id.
        """
        return await self._look({NAMESPACE: self._namespace, ROLE: "bot"}, known)

    async def look_at(self, bot: BotKey) -> tuple[ContainerState, ...]:
        """Look at one bot's containers, whatever is known about them."""
        found = await self._look({**bot.labels(self._namespace), ROLE: "bot"}, {})
        return found.get(bot, ())

    async def _look(self, labels: Mapping[str, str], known: Mapping[str, ContainerState]) -> Survey:
        async def look(row: Mapping[str, Any]) -> ContainerState | None:
            before = known.get(row["Id"])
            if before is not None and before.row == _row(row):
                return before
            container = await containers.inspect(self._engine, row["Id"])
            return _sighting(self._read(container), _row(row)) if container is not None else None

        rows = [
            row for row in await containers.list_by_labels(self._engine, labels) if BOT_ID in row["Labels"]
        ]
        survey: defaultdict[BotKey, list[ContainerState]] = defaultdict(list)
        for sighting in await for_each(rows, look):
            if sighting is not None:
                survey[sighting.record.bot].append(sighting)
        return {bot: tuple(found) for bot, found in survey.items()}


def principal(sightings: Iterable[ContainerState], name: str) -> ContainerState | None:
    """The container that is the bot, if it has one or more.

    While a bot is being replaced, that is the one with its name; until that has it, the one that gives way. A
    container that somebody has renamed still is the bot.

    Args:
        sightings: The bot's containers.
        name: The name of the bot's container.
    """
    ranks = {name: 0, name + PREVIOUS: 2, name + NEXT: 3}
    found = sorted(sightings, key=lambda each: (ranks.get(each.record.name, 1), each.record.name))
    return found[0] if found else None


def _row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    attached = (row.get("NetworkSettings") or {}).get("Networks") or {}
    ids = sorted(str(each.get("NetworkID", "")) for each in attached.values())
    return (row["State"], row["Names"][0], *ids)


def _sighting(container: Mapping[str, Any], row: tuple[Any, ...]) -> ContainerState:
    state = container["State"]["Status"]
    network = container["HostConfig"]["NetworkMode"]
    attached = (container.get("NetworkSettings") or {}).get("Networks") or {}
    runs = state in ("running", "paused")
    return ContainerState(
        record=record_of_inspection(container),
        state=state,
        created_at=moment(container["Created"]),
        connected=not runs or bool((attached.get(network) or {}).get("NetworkID")),
        row=row,
    )


async def for_each(
    arguments: Iterable[Argument], call: Callable[[Argument], Awaitable[Answer]]
) -> list[Answer]:
    """The answers to a call with each argument, a few at a time, in the order of the arguments."""
    slots = asyncio.Semaphore(INSPECTIONS_AT_ONCE)

    async def one(argument: Argument) -> Answer:
        async with slots:
            return await call(argument)

    return list(await asyncio.gather(*map(one, arguments)))
