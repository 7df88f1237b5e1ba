"""The state of the bots' containers, from the Engine's list and inspections."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bot_runner_worker.aio import for_each
from bot_runner_worker.bots.container_config import NEXT, PREVIOUS
from bot_runner_worker.bots.end_reasons import EndReasonStore
from bot_runner_worker.bots.records import moment, record_of_inspection, record_of_row
from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.engine.events import current_run
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE, ROLE, USER_ID, BotKey
from bot_runner_worker.model.spec import BotRecord

INSPECTIONS_AT_ONCE = 8

_LENT = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""What the Engine lends to each container: it lies beside the container's disk, and root may write to it."""

_NEVER_STARTED = ("created", "dead")


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
        disk_bytes: What it has written to its disk, if that was asked for.
    """

    record: BotRecord
    state: str
    created_at: datetime | None
    connected: bool
    row: tuple[Any, ...]
    disk_bytes: int = 0

    @property
    def runs(self) -> bool:
        """Whether there is a process, or the Engine is about to start one."""
        return self.state in ("running", "paused", "restarting")

    @property
    def has_started(self) -> bool:
        """Whether its start was finished; a replacement that waits for its turn has not."""
        return self.state not in _NEVER_STARTED and not self.record.name.endswith(NEXT)

    @property
    def has_ended(self) -> bool:
        """Whether it was ended for good and does not run."""
        return not self.runs and self.record.end_reason is not None

    @property
    def is_down(self) -> bool:
        """Whether it does not run and has no end reason."""
        return self.has_started and not self.runs and self.record.end_reason is None


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One run of the Engine, from its start to its end.

    Args:
        id: Tells it from its other runs; empty if the Engine tells nothing.
        began_at: When it began, if that is known.
    """

    id: str = ""
    began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All bots' containers at one moment.

    Args:
        run: The Engine's current run, if it is known.
        containers: The containers by their ids.
    """

    run: EngineRun | None = None
    containers: dict[str, ContainerState] = field(default_factory=dict)

    def by_bot(self) -> dict[BotKey, tuple[ContainerState, ...]]:
        """All containers of each bot."""
        bots: defaultdict[BotKey, list[ContainerState]] = defaultdict(list)
        for container in self.containers.values():
            bots[container.record.bot].append(container)
        return {bot: tuple(found) for bot, found in bots.items()}


def principal(found: Iterable[ContainerState], name: str) -> ContainerState | None:
    """The container that is the bot, if it has one or more.

    While a bot is being replaced, that is the one with its name; until that has it, the one that gives way. A
    container that somebody has renamed still is the bot.
    """
    ranks = {name: 0, name + PREVIOUS: 2, name + NEXT: 3}
    ranked = sorted(found, key=lambda each: (ranks.get(each.record.name, 1), each.record.name))
    return ranked[0] if ranked else None


def is_tidy(found: tuple[ContainerState, ...], name: str) -> bool:
    """Whether a bot has exactly one container, which has started, under its own name."""
    return len(found) == 1 and found[0].record.name == name and found[0].has_started


class Inspector:
    """Reads bots and their containers from the Engine."""

    def __init__(self, engine: Engine, namespace: str, end_reasons: EndReasonStore) -> None:
        self._engine = engine
        self._namespace = namespace
        self._end_reasons = end_reasons

    async def record(self, container: str) -> BotRecord | None:
        """The bot that has this container."""
        found = await containers.inspect(self._engine, container)
        return record_of_inspection(self._end_reasons.read(found)) if found is not None else None

    async def find(self, bot: BotKey) -> BotRecord | None:
        """The bot, live or not, or ``None``."""
        name = bot.container_name(self._namespace)
        container = await containers.inspect(self._engine, name)
        if container is not None and self._owns(container["Config"]["Labels"] or {}, bot):
            return record_of_inspection(self._end_reasons.read(container))
        # One that gives way to its replacement, or that somebody has renamed, still is the bot.
        others = [each for each in await self.inspect(bot) if not each.record.name.endswith(NEXT)]
        found = principal(others, name)
        return found.record if found else None

    def _owns(self, labels: Mapping[str, str], bot: BotKey) -> bool:
        wanted = {ROLE: "bot", **bot.labels(self._namespace)}
        return all(labels.get(name) == value for name, value in wanted.items())

    async def list_bots(self, user_id: str | None = None) -> list[BotRecord]:
        """All bots, or one tenant's, in the order of their deployment."""

        async def read(row: Mapping[str, Any]) -> BotRecord | None:
            return record_of_row(row) or await self.record(row["Id"])

        owner = {USER_ID: user_id} if user_id is not None else {}
        records: dict[BotKey, BotRecord] = {}
        found = await for_each(await self._rows(owner), read, at_once=INSPECTIONS_AT_ONCE)
        for record in filter(None, found):
            # While a bot is being replaced there are two containers; the one without a suffix is the bot.
            if record.bot not in records or not record.name.endswith((NEXT, PREVIOUS)):
                records[record.bot] = record
        return in_order(records.values())

    async def inspect_all(self, known: Snapshot) -> Snapshot:
        """See :class:`bot_runner_worker.bots.protocol.SupervisedRuntime`."""
        run = known.run or await self._current_run()
        snapshot = Snapshot(run, await self._inspect({}, known.containers))
        if any(each.is_down for each in snapshot.containers.values()):
            await self._check_not_ending()
        return snapshot

    async def inspect(self, bot: BotKey, *, size: bool = False) -> tuple[ContainerState, ...]:
        """See :class:`bot_runner_worker.bots.protocol.SupervisedRuntime`."""
        found = await self._inspect(bot.labels(self._namespace), {}, size=size)
        return tuple(each for each in found.values() if each.record.bot == bot)

    async def _inspect(
        self, labels: Mapping[str, str], known: Mapping[str, ContainerState], *, size: bool = False
    ) -> dict[str, ContainerState]:
        async def state(row: Mapping[str, Any]) -> ContainerState | None:
            before = known.get(row["Id"])
            if before is not None and before.row == _row(row):
                return before
            container = await containers.inspect(self._engine, row["Id"], size=size)
            if container is None:
                return None
            found = _state(self._end_reasons.read(container), _row(row))
            return replace(found, disk_bytes=await self._disk_bytes(container)) if size else found

        found = await for_each(await self._rows(labels), state, at_once=INSPECTIONS_AT_ONCE)
        return {each.record.id: each for each in found if each is not None}

    async def _disk_bytes(self, container: Mapping[str, Any]) -> int:
        files = [await containers.read_file(self._engine, container["Id"], path) for path in _LENT]
        return int(container.get("SizeRw") or 0) + sum(file[0].size for file in files if file is not None)

    async def _rows(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = {NAMESPACE: self._namespace, ROLE: "bot", **labels}
        rows = await containers.list_by_labels(self._engine, wanted)
        return [row for row in rows if BOT_ID in row["Labels"]]

    async def _current_run(self) -> EngineRun:
        run, began = await current_run(self._engine)
        return EngineRun(run, moment(began))

    async def _check_not_ending(self) -> None:
        # An Engine that ends takes no new connections from the beginning, but serves those that it has while
        # it stops the containers, and would leave half of what it is asked to make.
        async with Engine(self._engine.address) as anew:
            await anew.version()


def in_order(records: Iterable[BotRecord]) -> list[BotRecord]:
    """Bots in the order of their deployment."""
    return sorted(records, key=lambda each: (each.started_at, each.bot.bot_id))


def _row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    attached = (row.get("NetworkSettings") or {}).get("Networks") or {}
    ids = sorted(str(each.get("NetworkID", "")) for each in attached.values())
    return (row["State"], row["Names"][0], *ids)


def _state(container: Mapping[str, Any], row: tuple[Any, ...]) -> ContainerState:
    state = container["State"]["Status"]
    network = container["HostConfig"]["NetworkMode"]
    attached = (container.get("NetworkSettings") or {}).get("Networks") or {}
    needs_network = state in ("running", "paused")
    return ContainerState(
        record=record_of_inspection(container),
        state=state,
        created_at=moment(container["Created"]),
        connected=not needs_network or bool((attached.get(network) or {}).get("NetworkID")),
        row=row,
    )
