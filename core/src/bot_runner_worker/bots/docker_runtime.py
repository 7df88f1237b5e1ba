"""Bots as containers of one Docker Engine."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bot_runner_worker.aio import FairQueue, run_to_completion
from bot_runner_worker.bots.cleanup import Sweeper
from bot_runner_worker.bots.container_config import (
    NEXT,
    PREVIOUS,
    RUNNING_POLICY,
    STOPPED_POLICY,
    container_config,
)
from bot_runner_worker.bots.container_state import ContainerState, Survey, Surveyor, for_each, principal
from bot_runner_worker.bots.cpu_boost import CpuBoost
from bot_runner_worker.bots.disk_quota import DiskQuota
from bot_runner_worker.bots.log_pages import page_of, position_of
from bot_runner_worker.bots.pending_end_reasons import PendingEndReasons
from bot_runner_worker.bots.protocol import EngineRun, LogPage
from bot_runner_worker.bots.purge import Purge
from bot_runner_worker.bots.records import moment, record_of_inspection, record_of_row
from bot_runner_worker.bots.recovery import Recovery
from bot_runner_worker.engine import Engine, EngineError, containers, logs
from bot_runner_worker.engine.events import ContainerEvent, container_events, current_run
from bot_runner_worker.model.end_reasons import NORMAL_WEIGHT, WARNED_WEIGHT, EndReason, RecordedEnd
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable, disk_full
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE, ROLE, USER_ID, BotKey
from bot_runner_worker.model.spec import BotRecord, BotSpec
from bot_runner_worker.networks.bots import BotNetworks
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

MAX_LOG_BYTES = 512 * 1024

STARTS_AT_ONCE = 16
"""Containers that are made and started at the same time; more only makes each of them take longer."""

STARTS_OF_ONE_TENANT = 4
"""Of those, one tenant's: whoever comes after a tenant with many bots finds a place that is free."""


class DockerRuntime:
    """Implements :class:`bot_runner_worker.bots.protocol.BotRuntime`.

    Args:
        engine: The Engine.
        settings: Namespace, network, limits.
        ahead: Networks that lie ready.
    """

    def __init__(self, engine: Engine, settings: Settings, ahead: PrewarmedNetworks | None = None) -> None:
        self._engine = engine
        self._settings = settings
        self._networks = BotNetworks(engine, settings, ahead)
        self._bursts = CpuBoost(engine, settings)
        self._starts = FairQueue(STARTS_AT_ONCE, most_of_one=STARTS_OF_ONE_TENANT)
        self._unwritten = PendingEndReasons(engine)
        self._surveyor = Surveyor(engine, settings.runner_namespace, self._unwritten.read)
        self._repairs = Recovery(engine, settings.runner_namespace, self._networks, self._surveyor)
        self._sweeper = Sweeper(engine, settings, ahead)
        self._quota = DiskQuota(engine, settings.container_disk_limit)

    async def find(self, bot: BotKey) -> BotRecord | None:
        name = bot.container_name(self._settings.runner_namespace)
        container = await containers.inspect(self._engine, name)
        if container is not None and self._owns(container["Config"]["Labels"] or {}, bot):
            return record_of_inspection(self._unwritten.read(container))
        # One that gives way to its replacement, or that somebody has renamed, still is the bot.
        found = [each for each in await self._surveyor.look_at(bot) if not each.record.name.endswith(NEXT)]
        sighting = principal(found, name)
        return sighting.record if sighting else None

    def _owns(self, labels: dict[str, str], bot: BotKey) -> bool:
        wanted = {ROLE: "bot", **bot.labels(self._settings.runner_namespace)}
        return all(labels.get(name) == value for name, value in wanted.items())

    async def list_bots(self, user_id: str | None = None) -> list[BotRecord]:
        wanted = {ROLE: "bot", NAMESPACE: self._settings.runner_namespace}
        wanted |= {USER_ID: user_id} if user_id is not None else {}
        rows = await containers.list_by_labels(self._engine, wanted)
        found = await for_each((row for row in rows if BOT_ID in row["Labels"]), self._record)
        records: dict[BotKey, BotRecord] = {}
        for record in filter(None, found):
            # While a bot is being replaced there are two containers; the one without a suffix is the bot.
            if record.bot not in records or not record.name.endswith((NEXT, PREVIOUS)):
                records[record.bot] = record
        return sorted(records.values(), key=lambda each: (each.started_at, each.bot.bot_id))

    async def _record(self, row: Mapping[str, Any]) -> BotRecord | None:
        return record_of_row(row) or await self._inspected(row["Id"])

    async def _inspected(self, container_id: str) -> BotRecord | None:
        container = await containers.inspect(self._engine, container_id)
        return record_of_inspection(self._unwritten.read(container)) if container else None

    async def launch(self, spec: BotSpec, replacing: BotRecord | None = None) -> BotRecord:
        name = spec.bot.container_name(self._settings.runner_namespace)
        # Reading, stopping and supervising are never behind starts.
        async with AsyncExitStack() as stack:
            turn = await stack.enter_async_context(self._starts.turn(spec.bot.user_id))
            stack.enter_context(self._networks.starting())
            network = self._networks.choose(spec.bot, replacing.network if replacing is not None else "")
            container_id = await stack.enter_async_context(self._created(spec, name + NEXT, network))
            try:
                if replacing is not None:
                    async with turn.lent():
                        await run_to_completion(self._give_way(replacing, name))
                # Named before it starts: a container that crashes at once cannot be renamed meanwhile.
                await run_to_completion(containers.rename(self._engine, container_id, name))
                await run_to_completion(self._start(container_id, spec.bot, network))
            except BaseException:
                await asyncio.shield(self._undo(container_id, replacing, name))
                raise
        self._bursts.began(container_id, spec.limits.cpu)
        if replacing is not None:
            await run_to_completion(containers.remove(self._engine, replacing.id))
        record = await self._inspected(container_id)
        if record is None:
            raise Unavailable(
                Code.ENGINE_FAILED, "The bot was gone right after it was started.", hint="Try again."
            )
        return record

    async def _give_way(self, replaced: BotRecord, name: str) -> None:
        # The restart policy stays: it says that this bot should run, if its replacement never does.
        if replaced.status.is_live:
            await containers.stop(self._engine, replaced.id, self._settings.stop_grace_seconds)
        await containers.rename(self._engine, replaced.id, name + PREVIOUS)

    async def _undo(self, container_id: str, replaced: BotRecord | None, name: str) -> None:
        # In this order: two bots with one Telegram token must never run at once.
        await containers.remove(self._engine, container_id)
        if replaced is None:
            return
        try:
            await containers.rename(self._engine, replaced.id, name)
        except EngineError as error:
            # It had not given way yet, and still has its name.
            logger.debug("%s kept its name: %s", name, error)
        if replaced.status.is_live:
            try:
                await containers.start(self._engine, replaced.id)
            except (EngineError, Unavailable):
                logger.exception("the replaced bot %s could not be brought back", name)

    @asynccontextmanager
    async def _created(self, spec: BotSpec, name: str, network: str) -> AsyncIterator[str]:
        """A container with its files in place, removed again if the block fails or is cancelled."""
        try:
            await run_to_completion(self._networks.ensure(spec.bot, network))
            container_id = await run_to_completion(self._create(spec, name, network))
        except BaseException:
            await asyncio.shield(self._discard(name, spec.bot, network))
            raise
        finally:
            self._networks.let_go(network)
        try:
            for files in spec.options.files:
                await containers.put_files(self._engine, container_id, files)
            yield container_id
        except BaseException:
            await asyncio.shield(self._discard(container_id, spec.bot, network))
            raise

    async def _discard(self, container: str, bot: BotKey, network: str) -> None:
        await containers.remove(self._engine, container)
        record = await self.find(bot)
        if record is None or record.network != network:
            await self._networks.release(network)

    async def _create(self, spec: BotSpec, name: str, network: str) -> str:
        cpu = await self._bursts.cpu(spec.limits.cpu)
        config = container_config(spec, self._settings, network, cpu)
        try:
            try:
                return await self._quota.create(name, config)
            except EngineError as error:
                if not error.conflict:
                    raise
                # Left behind by a worker that was killed: bots are started under a lock of their own.
                await containers.remove(self._engine, name)
                return await self._quota.create(name, config)
        except EngineError as error:
            if error.not_found and "image" in error.message.lower():
                # Removed in the same moment: trying again makes it anew.
                raise Unavailable(
                    Code.ENGINE_FAILED, "The bot's image is gone from the Docker Engine.", hint="Try again."
                ) from error
            raise _start_failed(error) from error

    async def _start(self, container_id: str, bot: BotKey, network: str) -> None:
        try:
            await self._repairs.start(container_id, bot, network)
        except EngineError as error:
            raise _start_failed(error) from error

    async def end(self, record: BotRecord, verdict: EndReason) -> None:
        weight = RecordedEnd(verdict, record.exit_code, record.oom_killed).weight
        # First the verdict, then the stop: a worker that dies in between leaves a bot that stays stopped.
        judged = await self._judge(record, weight)
        # Who takes what all share would take more of it in a grace time.
        grace = (
            0 if verdict in (EndReason.DISK_LIMIT, EndReason.LOG_FLOOD) else self._settings.stop_grace_seconds
        )
        await containers.stop(self._engine, record.id, grace)
        if not judged and not await self._judge(record, weight):
            raise Unavailable(
                Code.ENGINE_FAILED,
                "The bot was stopped, but the Engine may start it again.",
                hint="Try again.",
            )

    async def _judge(self, record: BotRecord, weight: int) -> bool:
        try:
            await containers.set_policy(self._engine, record.id, restart=STOPPED_POLICY, cpu_shares=weight)
        except EngineError as error:
            if error.disk_full:
                self._unwritten.remember(record.id, weight)
                return True
            # A bot that starts or ends in this moment cannot be changed, nor one that is gone.
            return error.not_found
        return True

    async def restart(self, record: BotRecord) -> BotRecord:
        if record.status.is_live:
            await containers.stop(self._engine, record.id, self._settings.stop_grace_seconds)
        weight = WARNED_WEIGHT if record.warned else NORMAL_WEIGHT
        await containers.set_policy(self._engine, record.id, restart=RUNNING_POLICY, cpu_shares=weight)
        self._unwritten.forget(record.id)
        try:
            await self._repairs.start(record.id, record.bot, record.network)
        except EngineError as error:
            raise _start_failed(error) from error
        return await self._inspected(record.id) or record

    async def stop(self, record: BotRecord) -> None:
        await self.end(record, EndReason.STOPPED)

    async def remove(self, record: BotRecord) -> None:
        await self._discard(record.id, record.bot, record.network)

    async def logs(self, record: BotRecord, *, lines: int, since: str | None) -> LogPage:
        return await self._page(record.id, lines, since)

    async def find_with_logs(
        self, bot: BotKey, *, lines: int, since: str | None
    ) -> tuple[BotRecord, LogPage] | None:
        name = bot.container_name(self._settings.runner_namespace)
        # What is read is not handed out before it is known whose it is. The log first: it takes longer.
        page, record = await asyncio.gather(self._page(name, lines, since), self.find(bot))
        if record is None:
            return None
        if record.name != name:
            page = await self._page(record.id, lines, since)
        return record, page

    async def _page(self, container: str, lines: int, since: str | None) -> LogPage:
        position = position_of(since)
        try:
            # One line more than asked for tells whether there are older ones.
            output = await logs.read(
                self._engine, container, tail=lines + 1, since=position, max_bytes=8 * MAX_LOG_BYTES
            )
        except EngineError as error:
            if not error.not_found:
                raise
            output = []
        return page_of(output, lines=lines, since=since, max_bytes=MAX_LOG_BYTES)

    def events(self, since: float) -> AsyncGenerator[ContainerEvent, None]:
        mine = {ROLE: "bot", NAMESPACE: self._settings.runner_namespace}
        return container_events(self._engine, mine, since)

    async def current_run(self) -> EngineRun:
        run, began = await current_run(self._engine)
        return EngineRun(run, moment(began))

    async def check_not_ending(self) -> None:
        # An Engine that ends takes no new connections from the beginning, but serves those that it has while
        # it stops the containers, and would leave half of what it is asked to make.
        async with Engine(self._engine.address) as anew:
            await anew.version()

    async def survey(self, known: Mapping[str, ContainerState]) -> Survey:
        await self._unwritten.write()
        return await self._surveyor.survey(known)

    async def look_at(self, bot: BotKey) -> tuple[ContainerState, ...]:
        return await self._surveyor.look_at(bot)

    async def revive(self, sighting: ContainerState) -> None:
        await self._repairs.revive(sighting)

    async def settle(self, bot: BotKey, sightings: tuple[ContainerState, ...]) -> None:
        await self._repairs.settle(bot, sightings)

    async def end_burst(self, record: BotRecord) -> None:
        if record.cpu_limit is not None:
            await self._bursts.end(record.id, record.cpu_limit)

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._bursts.close()

    async def mark_warned(self, record: BotRecord) -> None:
        await containers.set_policy(self._engine, record.id, cpu_shares=WARNED_WEIGHT)

    async def release_networks(self, bot: BotKey) -> None:
        await self._repairs.release_networks(bot, await self._surveyor.look_at(bot))

    async def bots_with_unused_networks(self) -> set[BotKey]:
        return await self._sweeper.bots_with_unused_networks()

    async def disk_use(self, record: BotRecord) -> int:
        found = await containers.inspect(self._engine, record.id, size=True)
        return int(found.get("SizeRw", 0)) if found is not None else 0

    async def sweep(self, at_work: Callable[[], Awaitable[bool]]) -> int:
        return await self._sweeper.sweep(at_work)

    async def remove_all(self, *, keep_images: bool = False) -> int:
        return await Purge(self._engine, self._settings.runner_namespace).remove_all(keep_images=keep_images)


def _start_failed(error: EngineError) -> BotRunnerError:
    message = error.message
    if error.disk_full:
        return disk_full(message)
    if re.search(r"unknown (or invalid )?runtime", message, re.IGNORECASE):
        return Unavailable(
            Code.CONTAINER_RUNTIME_MISSING,
            "The Docker Engine does not have the runtime that bots are to be run with.",
            hint="This is for the operator: see bot-runner-worker doctor, and CONTAINER_RUNTIME.",
            details={"reason": message[:500]},
            stage="start",
        )
    hint = "The Engine's words are in details.reason."
    if "executable file not found" in message or "no such file or directory" in message:
        hint = "The command or entrypoint does not exist in the image; check its name."
    elif "could not select device driver" in message:
        hint = "The Engine has no support for GPUs: this is for the operator (NVIDIA's container toolkit)."
    elif "permission denied" in message:
        hint = "The entrypoint is not executable; set its mode to 755 or call it through its interpreter."
    return Rejected(
        Code.START_FAILED,
        "The bot's container could not be started.",
        hint=hint,
        details={"reason": message[:1000]},
        stage="start",
    )
