"""Bots as containers of one Docker Engine."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from bot_runner_worker.aio import FairQueue, run_to_completion
from bot_runner_worker.bots.cleanup import Cleanup
from bot_runner_worker.bots.container_config import (
    NEXT,
    PREVIOUS,
    DiskQuota,
    container_config,
    mount_points,
    user_of,
)
from bot_runner_worker.bots.container_state import ContainerState, Inspector, Snapshot
from bot_runner_worker.bots.cpu_boost import CpuBoost
from bot_runner_worker.bots.end_reasons import EndReasonStore
from bot_runner_worker.bots.image_files import ImageFiles
from bot_runner_worker.bots.log_pages import page_of, position_of
from bot_runner_worker.bots.protocol import Action, LogPage
from bot_runner_worker.bots.purge import Purge
from bot_runner_worker.bots.records import record_of_inspection
from bot_runner_worker.bots.recovery import Recovery
from bot_runner_worker.bots.start_errors import start_failed
from bot_runner_worker.engine import Engine, EngineError, containers, logs
from bot_runner_worker.engine.events import ContainerEvent, container_events
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import NAMESPACE, ROLE, BotKey
from bot_runner_worker.model.spec import BotRecord, BotSpec, EndReason
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
    """Implements :class:`bot_runner_worker.bots.protocol.SupervisedRuntime`."""

    def __init__(self, engine: Engine, settings: Settings, ahead: PrewarmedNetworks | None = None) -> None:
        self._engine = engine
        self._settings = settings
        self._networks = BotNetworks(engine, settings, ahead)
        self._boosts = CpuBoost(engine, settings)
        self._starts = FairQueue(STARTS_AT_ONCE, most_of_one=STARTS_OF_ONE_TENANT)
        self._end_reasons = EndReasonStore(engine)
        self._inspector = Inspector(engine, settings.runner_namespace, self._end_reasons)
        self._recovery = Recovery(engine, settings.runner_namespace, self._networks, self._inspector)
        self._cleanup = Cleanup(engine, settings, ahead)
        self._quota = DiskQuota(engine, settings.container_disk_limit)

    async def find(self, bot: BotKey) -> BotRecord | None:
        return await self._inspector.find(bot)

    async def list_bots(self, user_id: str | None = None) -> list[BotRecord]:
        return await self._inspector.list_bots(user_id)

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
        self._boosts.began(container_id, spec.limits.cpu)
        if replacing is not None:
            await run_to_completion(containers.remove(self._engine, replacing.id))
        record = await self._inspector.record(container_id)
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
        """A container with its files in place; removed if the block fails or is cancelled."""
        try:
            await run_to_completion(self._networks.ensure(spec.bot, network))
            container_id = await run_to_completion(self._create(spec, name, network))
        except BaseException:
            await asyncio.shield(self._discard(name, spec.bot, network))
            raise
        finally:
            self._networks.let_go(network)
        try:
            await self._check_files(spec, container_id)
            for files in spec.options.files:
                await containers.put_files(self._engine, container_id, files)
            yield container_id
        except BaseException:
            await asyncio.shield(self._discard(container_id, spec.bot, network))
            raise

    async def _check_files(self, spec: BotSpec, container: str) -> None:
        files = ImageFiles(self._engine, container)
        await files.check_mount_points(mount_points(spec))
        if self._settings.run_as_root == "refused":
            user = user_of(spec, self._settings) or spec.image.user
            await files.check_user(user.partition(":")[0])

    async def _discard(self, container: str, bot: BotKey, network: str) -> None:
        await containers.remove(self._engine, container)
        record = await self.find(bot)
        if record is None or record.network != network:
            await self._networks.release(network)

    async def _create(self, spec: BotSpec, name: str, network: str) -> str:
        cpu = await self._boosts.cpu(spec.limits.cpu)
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
            raise start_failed(error) from error

    async def _start(self, container_id: str, bot: BotKey, network: str) -> None:
        try:
            await self._recovery.start(container_id, bot, network)
        except EngineError as error:
            raise start_failed(error) from error

    async def restart(self, record: BotRecord) -> BotRecord:
        if record.status.is_live:
            await containers.stop(self._engine, record.id, self._settings.stop_grace_seconds)
        await self._end_reasons.clear(record)
        await self._start(record.id, record.bot, record.network)
        return await self._inspector.record(record.id) or record

    async def end(self, record: BotRecord, reason: EndReason = EndReason.STOPPED) -> None:
        # First the end reason, then the stop: a worker that dies in between leaves a bot that stays stopped.
        await self._end_reasons.write(record, reason)
        # Who takes what all share would take more of it in a grace time.
        at_once = reason in (EndReason.DISK_LIMIT, EndReason.LOG_FLOOD)
        grace_seconds = 0 if at_once else self._settings.stop_grace_seconds
        stopped = await containers.stop(self._engine, record.id, grace_seconds)
        # While the bot started or ended, nothing could be written; and another change that fails in such a
        # moment, as of its CPU limit, takes back what was written meanwhile (restoreConfig in moby's
        # daemon/update.go).
        lost = stopped and record_of_inspection(self._end_reasons.read(stopped)).end_reason is None
        if lost and not await self._end_reasons.write(record, reason):
            raise Unavailable(
                Code.ENGINE_FAILED,
                "The bot was stopped, but the Engine may start it again.",
                hint="Try again.",
            )

    async def remove(self, record: BotRecord) -> None:
        await self._discard(record.id, record.bot, record.network)

    async def logs(self, bot: BotKey, *, lines: int, since: str | None) -> tuple[BotRecord, LogPage] | None:
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

    async def inspect_all(self, known: Snapshot) -> Snapshot:
        await self._end_reasons.write_pending()
        return await self._inspector.inspect_all(known)

    async def inspect(self, bot: BotKey, *, size: bool = False) -> tuple[ContainerState, ...]:
        return await self._inspector.inspect(bot, size=size)

    async def act(self, action: Action, bot: BotKey, found: tuple[ContainerState, ...]) -> None:
        match action:
            case Action.SETTLE:
                await self._recovery.settle(bot, found)
            case Action.RELEASE_NETWORKS:
                await self._recovery.release_networks(bot, found)
            case Action.REVIVE:
                await self._recovery.revive(found[0])
            case Action.WARN:
                await self._end_reasons.mark_warned(found[0].record.id)
            case Action.END_BOOST:
                record = found[0].record
                if record.cpu_limit is not None:
                    await self._boosts.end(record.id, record.cpu_limit)
            case _:
                raise ValueError(action)

    async def sweep(self, at_work: Callable[[], bool]) -> tuple[int, set[BotKey]]:
        return await self._cleanup.sweep(at_work)

    async def remove_all(self, *, keep_images: bool = False) -> int:
        """Remove everything of this namespace; returns how many bots there were.

        Raises:
            Unavailable: ``ENGINE_FAILED`` if something stays in use.
        """
        return await Purge(self._engine, self._settings.runner_namespace).remove_all(keep_images=keep_images)

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._boosts.close()
