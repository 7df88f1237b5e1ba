"""The tasks about existing bots: stop, restart, logs, list, status."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bot_runner_worker.aio import Turn
from bot_runner_worker.bots.admission import Admission, StartUnderWay
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.diagnosis import LAST_LINES, clean_last_lines, hint_for
from bot_runner_worker.bots.protocol import BotRuntime
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.events import EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.requests import CheckStatus, GetLogs, ListBots, RestartBot, StopBot, parse
from bot_runner_worker.model.results import (
    BotList,
    BotRow,
    BotStatus,
    Logs,
    Started,
    StatusReport,
    Stopped,
    timestamp,
)
from bot_runner_worker.model.spec import BotRecord
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.start_bot import started


class BotManager:
    """Serves all tasks but ``start_bot``.

    Args:
        settings: Namespace and limits.
        announcer: Publishes events.
        runtime: Runs bots.
        admission: Serialises the work on each bot.
        ensure_closed: Raises unless bots are closed off from the host as far as that is required.
    """

    def __init__(
        self,
        settings: Settings,
        announcer: Announcer,
        runtime: BotRuntime,
        admission: Admission,
        ensure_closed: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._announcer = announcer
        self._runtime = runtime
        self._admission = admission
        self._ensure_closed = ensure_closed

    async def stop(self, params: Mapping[str, Any]) -> Stopped:
        """Serve ``stop_bot``: the bot is stopped, and can still be read.

        A bot that is not there is no error. A start that is under way or waits is ended.
        """
        bot = parse(StopBot, params).bot
        async with self._admission.stopping(bot) as ended_start, self._admission.short_task(bot.user_id):
            record = await self._runtime.find(bot)
            if record is None:
                status = "stopped" if ended_start else "not_found"
                return Stopped(status, bot.container_name(self._settings.runner_namespace))
            # One that is down without an end reason may be about to come back.
            if record.status.is_live or record.end_reason is None:
                await self._runtime.end(record)
                await self._announcer.tell(EventType.STOPPED, record)
        return Stopped("stopped", record.name)

    async def restart(self, params: Mapping[str, Any]) -> Started:
        """Serve ``restart_bot``: the same container again; its deadline does not move.

        Raises:
            Rejected: ``BOT_NOT_FOUND``, ``BOT_EXPIRED``, ``QUOTA_EXCEEDED``, or ``START_CANCELLED`` if the
                bot was stopped meanwhile.
            Unavailable: ``NOT_ISOLATED``, or if the Engine does not answer.
        """
        bot = parse(RestartBot, params).bot

        async def restart(_: Turn) -> BotRecord:
            record = await self._restartable(bot)
            await self._ensure_closed()
            return await self._runtime.restart(record)

        try:
            restarted, joined = await self._admission.start(bot, restart)
        except Rejected as error:
            if error.code == Code.QUOTA_EXCEEDED:
                # For a bot that cannot be restarted anyway, that is the better answer.
                await self._restartable(bot)
            raise
        if not joined:
            await self._announcer.tell(EventType.STARTED, restarted)
        return started(restarted, "started")

    async def _restartable(self, bot: BotKey) -> BotRecord:
        record = await self._existing(bot)
        if record.expires_at <= datetime.now(UTC):
            raise Rejected(
                Code.BOT_EXPIRED,
                f"The time of the bot {bot.bot_id} was over at {timestamp(record.expires_at)}.",
                hint="Start it again to give it a new deadline.",
                stage="start",
            )
        return record

    async def logs(self, params: Mapping[str, Any]) -> Logs:
        """Serve ``get_logs``.

        Raises:
            Rejected: ``BOT_NOT_FOUND``.
        """
        request = parse(GetLogs, params)
        async with self._admission.short_task(request.bot.user_id):
            found = await self._runtime.logs(request.bot, lines=request.lines, since=request.since)
        if found is None:
            raise _not_found(request.bot)
        record, page = found
        return Logs("ok", page.text, record.status, page.truncated, page.next_since)

    async def list_bots(self, params: Mapping[str, Any]) -> BotList:
        """Serve ``list_bots``, with bots whose first start has made no container yet."""
        user_id = parse(ListBots, params).user_id
        async with self._admission.short_task(user_id):
            # In this order: a start that ends in between is found among the bots.
            starting = {each.bot: each for each in self._admission.starting(user_id)}
            records = await self._runtime.list_bots(user_id)
        rows = [_row(record) for record in records if not _gives_way(record, starting)]
        rows += [_starting_row(start) for start in starting.values() if start.bot.bot_id not in _ids(rows)]
        return BotList(rows, len(rows), self._settings.max_bots_per_user)

    async def status(self, params: Mapping[str, Any]) -> StatusReport:
        """Serve ``check_status``; a bot that is not there is no error."""
        bot = parse(CheckStatus, params).bot
        async with self._admission.short_task(bot.user_id):
            return await self._status(bot)

    async def _status(self, bot: BotKey) -> StatusReport:
        # In this order, see list_bots.
        starting = {each.bot: each for each in self._admission.starting(bot.user_id)}
        record = await self._runtime.find(bot)
        if bot in starting and (record is None or _gives_way(record, starting)):
            return StatusReport(exists=True, **asdict(_starting_row(starting[bot])))
        if record is None:
            return StatusReport(exists=False, bot_id=bot.bot_id)
        last_lines: list[str] = []
        if record.exit_code:
            found = await self._runtime.logs(bot, lines=LAST_LINES, since=None)
            last_lines = clean_last_lines(record, found[1].text) if found else []
        return StatusReport(
            exists=True,
            bot_id=bot.bot_id,
            status=record.status,
            container_id=record.id,
            container_name=record.name,
            started_at=timestamp(record.started_at),
            expires_at=timestamp(record.expires_at),
            mode=record.mode,
            image=record.image,
            exit_code=record.exit_code,
            oom_killed=record.oom_killed,
            restart_count=record.restart_count,
            reason=record.reason,
            hint=hint_for(record, last_lines),
            last_lines=last_lines,
        )

    async def _existing(self, bot: BotKey) -> BotRecord:
        record = await self._runtime.find(bot)
        if record is None:
            raise _not_found(bot)
        return record


def _not_found(bot: BotKey) -> Rejected:
    return Rejected(
        Code.BOT_NOT_FOUND,
        f"There is no bot {bot.bot_id}.",
        hint="List your bots to see which there are.",
        details={"bot_id": bot.bot_id},
        stage="request",
    )


def _gives_way(record: BotRecord, starting: Mapping[BotKey, StartUnderWay]) -> bool:
    """Whether a running start says more about the bot than its container does."""
    return record.bot in starting and record.status not in (BotStatus.RUNNING, BotStatus.RESTARTING)


def _ids(rows: Iterable[BotRow]) -> set[str]:
    return {row.bot_id for row in rows}


def _row(record: BotRecord) -> BotRow:
    return BotRow(
        bot_id=record.bot.bot_id,
        status=record.status,
        container_id=record.id,
        container_name=record.name,
        started_at=timestamp(record.started_at),
        expires_at=timestamp(record.expires_at),
        mode=record.mode,
    )


def _starting_row(start: StartUnderWay) -> BotRow:
    return BotRow(
        bot_id=start.bot.bot_id,
        status=BotStatus.STARTING,
        container_id="",
        container_name="",
        started_at=timestamp(start.begun_at),
        expires_at="",
        mode=start.mode,
    )
