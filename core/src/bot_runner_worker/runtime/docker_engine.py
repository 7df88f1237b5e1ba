"""Bots as containers of one Docker Engine."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from bot_runner_worker.engine import Engine, EngineError, containers, images, logs, networks
from bot_runner_worker.errors import Code, Rejected, Unavailable
from bot_runner_worker.identity import BOT_ID, NAMESPACE, ROLE, USER_ID, BotKey
from bot_runner_worker.images.reference import OWN_REPOSITORY
from bot_runner_worker.networks.bots import BotNetworks
from bot_runner_worker.runtime.container_config import (
    NEXT,
    PREVIOUS,
    RUNNING_POLICY,
    STOPPED_POLICY,
    container_config,
)
from bot_runner_worker.runtime.log_pages import page_of, position_of
from bot_runner_worker.runtime.protocol import LogPage
from bot_runner_worker.runtime.records import record_of_inspection, record_of_row
from bot_runner_worker.runtime.spec import BotRecord, BotSpec
from bot_runner_worker.runtime.sweeping import Sweeper
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_LOG_BYTES = 512 * 1024


class DockerRuntime:
    """Implements :class:`bot_runner_worker.runtime.protocol.BotRuntime`.

    Args:
        engine: The Engine.
        settings: Namespace, network, limits.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._networks = BotNetworks(engine, settings)

    async def find(self, bot: BotKey) -> BotRecord | None:
        name = bot.container_name(self._settings.runner_namespace)
        container = await containers.inspect(self._engine, name)
        if container is None:
            # A worker that was killed while it replaced the bot may have left the old one renamed.
            container = await containers.inspect(self._engine, name + PREVIOUS)
        if container is None or not self._owns(container["Config"]["Labels"] or {}, bot):
            return None
        return record_of_inspection(container)

    def _owns(self, labels: dict[str, str], bot: BotKey) -> bool:
        return all(labels.get(name) == value for name, value in self._labels(bot).items())

    def _labels(self, bot: BotKey | None = None) -> dict[str, str]:
        namespace = self._settings.runner_namespace
        return {ROLE: "bot", **(bot.labels(namespace) if bot else {NAMESPACE: namespace})}

    async def list_bots(self, user_id: str | None = None) -> list[BotRecord]:
        wanted = self._labels() | ({USER_ID: user_id} if user_id is not None else {})
        records: dict[BotKey, BotRecord] = {}
        for row in await containers.list_by_labels(self._engine, wanted):
            if BOT_ID not in row["Labels"]:
                continue
            record = record_of_row(row) or await self._inspected(row["Id"])
            if record is None:
                continue
            # While a bot is being replaced there are two containers; the one without a suffix is the bot.
            if record.bot not in records or not record.name.endswith((NEXT, PREVIOUS)):
                records[record.bot] = record
        return sorted(records.values(), key=lambda each: (each.started_at, each.bot.bot_id))

    async def _inspected(self, container_id: str) -> BotRecord | None:
        container = await containers.inspect(self._engine, container_id)
        return record_of_inspection(container) if container else None

    async def launch(self, spec: BotSpec, replacing: BotRecord | None = None) -> BotRecord:
        name = spec.bot.container_name(self._settings.runner_namespace)
        async with self._created(spec, name + NEXT) as container_id:
            try:
                if replacing is not None:
                    await to_its_end(self._give_way(replacing, name))
                # Named before it starts: a container that crashes at once cannot be renamed meanwhile.
                await to_its_end(containers.rename(self._engine, container_id, name))
                await to_its_end(self._start(container_id))
            except BaseException:
                await asyncio.shield(self._undo(container_id, replacing, name))
                raise
        if replacing is not None:
            await asyncio.shield(containers.remove(self._engine, replacing.id))
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
    async def _created(self, spec: BotSpec, name: str) -> AsyncIterator[str]:
        """A container with its files in place, removed again if the block fails or is cancelled."""
        try:
            network = await to_its_end(self._networks.ensure(spec.bot))
            container_id = await to_its_end(self._create(spec, name, network))
        except BaseException:
            await asyncio.shield(self._discard(name, spec.bot))
            raise
        try:
            for files in spec.options.files:
                await containers.put_files(self._engine, container_id, files)
            yield container_id
        except BaseException:
            await asyncio.shield(self._discard(container_id, spec.bot))
            raise

    async def _discard(self, container: str, bot: BotKey) -> None:
        await containers.remove(self._engine, container)
        if await self.find(bot) is None:
            await self._networks.release(bot)

    async def _create(self, spec: BotSpec, name: str, network: str) -> str:
        config = container_config(spec, self._settings, network)
        try:
            try:
                return await containers.create(self._engine, name, config)
            except EngineError as error:
                if not error.conflict:
                    raise
                # Left behind by a worker that was killed: bots are started under a lock of their own.
                await containers.remove(self._engine, name)
                return await containers.create(self._engine, name, config)
        except EngineError as error:
            raise _start_failed(error) from error

    async def _start(self, container_id: str) -> None:
        try:
            await containers.start(self._engine, container_id)
        except EngineError as error:
            raise _start_failed(error) from error

    async def _halt(self, record: BotRecord) -> None:
        # First the policy, then the stop: a worker that dies in between leaves a bot that stays stopped.
        try:
            await containers.set_restart_policy(self._engine, record.id, STOPPED_POLICY)
        except EngineError as error:
            if not error.not_found:
                raise
        await containers.stop(self._engine, record.id, self._settings.stop_grace_seconds)

    async def restart(self, record: BotRecord) -> BotRecord:
        if record.status.is_live:
            await containers.stop(self._engine, record.id, self._settings.stop_grace_seconds)
        await containers.set_restart_policy(self._engine, record.id, RUNNING_POLICY)
        try:
            await containers.start(self._engine, record.id)
        except EngineError as error:
            if not error.not_found:
                raise _start_failed(error) from error
            # Its network was removed while it was down.
            network = await self._networks.ensure(record.bot)
            await networks.reconnect(self._engine, network, record.id)
            await self._start(record.id)
        return await self._inspected(record.id) or record

    async def stop(self, record: BotRecord) -> None:
        await self._halt(record)

    async def remove(self, record: BotRecord) -> None:
        await self._discard(record.id, record.bot)

    async def logs(self, record: BotRecord, *, lines: int, since: str | None) -> LogPage:
        position = position_of(since)
        try:
            # One line more than asked for tells whether there are older ones.
            output = await logs.read(
                self._engine, record.id, tail=lines + 1, since=position, max_bytes=8 * MAX_LOG_BYTES
            )
        except EngineError as error:
            if not error.not_found:
                raise
            output = []
        return page_of(output, lines=lines, since=since, max_bytes=MAX_LOG_BYTES)

    async def sweep(self, now: datetime) -> int:
        return await Sweeper(self._engine, self._settings).sweep(now)

    async def remove_all(self, *, keep_images: bool = False) -> int:
        mine: dict[str, Any] = {NAMESPACE: self._settings.runner_namespace}
        found = await containers.list_by_labels(self._engine, mine)
        for row in found:
            await containers.remove(self._engine, row["Id"])
        for network in await networks.list_by_labels(self._engine, mine):
            await networks.remove(self._engine, network["Id"])
        if not keep_images:
            await self._remove_images(mine)
        return sum(row["Labels"].get(ROLE) == "bot" for row in found)

    async def _remove_images(self, mine: dict[str, str]) -> None:
        # Those that were pulled carry no label of ours, but a tag.
        repository = f"{OWN_REPOSITORY}{self._settings.runner_namespace}"
        for image in await images.list_by_repository(self._engine, repository):
            own = [tag for tag in image["RepoTags"] if tag.startswith(f"{repository}:")]
            if own == image["RepoTags"]:
                await images.remove(self._engine, image["Id"], all_tags=True)
            else:
                # The operator has a name for it, too.
                for tag in own:
                    await images.remove(self._engine, tag)
        for image in await images.list_by_labels(self._engine, mine):
            await images.remove(self._engine, image["Id"], all_tags=True)


async def to_its_end(call: Coroutine[Any, Any, T]) -> T:
    """Await a call to its end, and only then let a cancellation through.

    The Engine goes on creating and starting whether anybody listens or not; undoing it meanwhile would race.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _start_failed(error: EngineError) -> Rejected:
    message = error.message
    hint = "The Engine's words are in details.reason."
    if "executable file not found" in message or "no such file or directory" in message:
        hint = "The command or entrypoint does not exist in the image; check its name."
    elif "permission denied" in message:
        hint = "The entrypoint is not executable; set its mode to 755 or call it through its interpreter."
    return Rejected(
        Code.START_FAILED,
        "The bot's container could not be started.",
        hint=hint,
        details={"reason": message[:1000]},
        stage="start",
    )
