"""A runtime in memory: it keeps bots and their configuration, and runs no code."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

from bot_runner_worker.bots.container_config import container_config
from bot_runner_worker.bots.log_pages import page_of, position_of
from bot_runner_worker.bots.protocol import LogPage
from bot_runner_worker.bots.records import STATUS_OF_END
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import BotStatus
from bot_runner_worker.model.spec import BotRecord, BotSpec
from bot_runner_worker.settings import Settings


class MemoryRuntime:
    """Implements :class:`bot_runner_worker.bots.protocol.BotRuntime`.

    A bot runs from its start until somebody ends it. It prints nothing, and never crashes. As on the Engine,
    one without any command does not start, and leaves nothing.

    Args:
        settings: Namespace and limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bots: dict[BotKey, BotRecord] = {}
        self.specs: dict[BotKey, BotSpec] = {}
        """What each bot was started with."""
        self.configs: dict[BotKey, dict[str, Any]] = {}
        """The body of the call that would create each bot's container."""

    async def find(self, bot: BotKey) -> BotRecord | None:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        return self._bots.get(bot)

    async def list_bots(self, user_id: str | None = None) -> list[BotRecord]:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        found = [each for each in self._bots.values() if user_id in (None, each.bot.user_id)]
        return sorted(found, key=lambda each: (each.started_at, each.bot.bot_id))

    async def launch(self, spec: BotSpec, replacing: BotRecord | None = None) -> BotRecord:
        """See :class:`BotRuntime`."""
        config = container_config(spec, self._settings, f"{self._settings.docker_network}-{spec.bot.bot_id}")
        await asyncio.sleep(0)
        if config.get("Cmd") == [] and config.get("Entrypoint") == []:
            raise Rejected(
                Code.START_FAILED,
                "The bot's container could not be started.",
                hint="The Engine's words are in details.reason.",
                details={"reason": "No command specified"},
                stage="start",
            )
        record = BotRecord(
            bot=spec.bot,
            status=BotStatus.RUNNING,
            id=uuid4().hex + uuid4().hex,
            name=spec.bot.container_name(self._settings.runner_namespace),
            mode=spec.mode,
            source=spec.source,
            image=spec.image.reference,
            request_digest=spec.request_digest,
            spec_digest=spec.digest(),
            started_at=spec.started_at.replace(microsecond=0),
            expires_at=spec.expires_at.replace(microsecond=0),
            environment=dict(spec.environment),
        )
        self._bots[spec.bot] = record
        self.specs[spec.bot] = spec
        self.configs[spec.bot] = config
        return record

    async def restart(self, record: BotRecord) -> BotRecord:
        """See :class:`BotRuntime`."""
        return self._set(record, status=BotStatus.RUNNING, end_reason=None, exit_code=None)

    async def end(self, record: BotRecord, reason: EndReason = EndReason.STOPPED) -> None:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        self._set(record, status=STATUS_OF_END[reason], end_reason=reason)

    def _set(self, record: BotRecord, **changes: Any) -> BotRecord:
        changed = replace(self._bots.get(record.bot, record), **changes)
        self._bots[record.bot] = changed
        return changed

    async def remove(self, record: BotRecord) -> None:
        """See :class:`BotRuntime`."""
        await asyncio.sleep(0)
        for kept in (self._bots, self.specs, self.configs):
            kept.pop(record.bot, None)

    async def logs(self, bot: BotKey, *, lines: int, since: str | None) -> tuple[BotRecord, LogPage] | None:
        """See :class:`BotRuntime`."""
        position_of(since)
        record = await self.find(bot)
        return None if record is None else (record, page_of([], lines=lines, since=since, max_bytes=1))

    async def remove_all(self) -> int:
        """Remove all bots; returns how many there were."""
        count = len(self._bots)
        for record in list(self._bots.values()):
            await self.remove(record)
        return count
