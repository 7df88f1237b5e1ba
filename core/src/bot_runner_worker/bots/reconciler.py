"""Doing what has been judged, one bot at a time, under its claim and after a fresh look."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot_runner_worker.aio import run_to_completion
from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.container_state import ContainerState
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.policy import Action, Policy
from bot_runner_worker.bots.protocol import BotRuntime, EngineRun
from bot_runner_worker.bots.reports import Reporter
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.events import EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import timestamp
from bot_runner_worker.model.spec import BotRecord

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 30.0
"""A bot on which somebody works for longer is left alone until the next look."""

HEARSAY_SECONDS = 0.5
"""How long to wait for the events that belong to an end that was seen."""

_MAX_STEPS = 6


class Reconciler:
    """Attends to bots.

    Args:
        runtime: Where bots run.
        admission: Serialises the work on each bot.
        reporter: Told of what happens to bots.
        deaths: How containers ended.
        judge: Says what to do.
        disk_limit: Bytes that a bot may write.
    """

    def __init__(
        self,
        runtime: BotRuntime,
        admission: Admission,
        reporter: Reporter,
        deaths: ExitHistory,
        judge: Policy,
        disk_limit: int,
    ) -> None:
        self._runtime = runtime
        self._admission = admission
        self._reporter = reporter
        self._deaths = deaths
        self._judge = judge
        self._disk_limit = disk_limit
        self._told: dict[str, EndReason] = {}

    async def attend(self, bot: BotKey, run: EngineRun, now: Callable[[], datetime]) -> bool:
        """Do whatever is to be done about a bot, step by step, until all is as it should be.

        Args:
            bot: The bot.
            run: The Engine's current run.
            now: The time on the wall.

        Returns:
            False if it was removed because it had been readable for long enough.

        Raises:
            BotRunnerError: If something cannot be done now.
            EngineError: If the Engine refuses something.
            TimeoutError: If somebody else works on the bot.
        """
        async with asyncio.timeout(CLAIM_SECONDS) as limit, self._admission.exclusively(bot):
            limit.reschedule(None)
            for _ in range(_MAX_STEPS):
                sightings = await self._runtime.look_at(bot)
                step = self._judge.next_step(bot, sightings, run, now())
                if step is Action.ACCEPT_EXIT and self._deaths.last(sightings[0].record.id) is None:
                    # The events come by another way than what is seen, and may be a moment late.
                    await asyncio.sleep(HEARSAY_SECONDS)
                    step = self._judge.next_step(bot, sightings, run, now())
                if step is None or step is Action.WAIT:
                    # One that is gone by now may have been removed from outside: see :meth:`bury`.
                    return True
                # To its end, even if the worker ends: what is done to a bot is told as well.
                await run_to_completion(self._take(step, bot, sightings))
                if step is Action.REMOVE:
                    return False
            return True

    async def _take(self, step: Action, bot: BotKey, sightings: tuple[ContainerState, ...]) -> None:
        if step is Action.SETTLE:
            await self._runtime.settle(bot, sightings)
            return
        (sighting,) = sightings
        record = sighting.record
        match step:
            case Action.FINISH:
                verdict = record.verdict or EndReason.STOPPED
                if self._told.get(record.id) is verdict:
                    # The Engine was about to start it once more when it was ended: nothing new.
                    await self._runtime.end(record, verdict)
                else:
                    await self._end(record, verdict)
            case Action.GIVE_UP:
                await self._give_up(record)
            case Action.ACCEPT_EXIT:
                await self._end(record, EndReason.EXITED)
            case Action.EXPIRE:
                await self._end(record, EndReason.EXPIRED)
            case Action.REMOVE:
                await self._runtime.remove(record)
                await self._reporter.tell(EventType.REMOVED, record, reason="retention")
            case Action.WARN:
                # First the mark: a warning may be lost, but is never repeated.
                await self._runtime.mark_warned(record)
                await self._reporter.tell(EventType.EXPIRING, record, expires_at=timestamp(record.expires_at))
            case Action.END_BURST:
                await self._runtime.end_burst(record)
            case Action.REVIVE:
                logger.info("%s should run and does not (%s): bringing it back", record.name, sighting.state)
                await self._runtime.revive(sighting)

    async def _give_up(self, record: BotRecord) -> None:
        used = await self._runtime.disk_use(record)
        if used > self._disk_limit:
            # Its file could not grow further, and the bot died of that before the watch came by.
            await self._end(record, EndReason.DISK_LIMIT, disk_bytes=used, limit_bytes=self._disk_limit)
        else:
            await self._end(self._as_it_failed(record), EndReason.CRASHED)

    def _as_it_failed(self, record: BotRecord) -> BotRecord:
        # It may be running again, or have been stopped since.
        failures = self._deaths.failures(record.id)
        if not failures:
            return record
        last = failures[-1]
        # Of the last one, it may not have been told yet.
        alike = any(each.oom_killed for each in failures if each.exit_code == last.exit_code)
        return replace(record, exit_code=last.exit_code, oom_killed=alike or record.oom_killed)

    async def _end(self, record: BotRecord, verdict: EndReason, **details: int) -> None:
        await self._runtime.end(record, verdict)
        self._told[record.id] = verdict
        await self._reporter.ended(record, verdict, **details)

    def keep(self, containers: set[str]) -> None:
        """Forget which ends of all other containers have been told."""
        self._told = {each: verdict for each, verdict in self._told.items() if each in containers}

    async def bury(self, record: BotRecord) -> None:
        """See to a bot that was there and is not any more.

        Args:
            record: The bot as it was seen last.

        Raises: See :meth:`attend`.
        """
        async with asyncio.timeout(CLAIM_SECONDS) as limit, self._admission.exclusively(record.bot):
            limit.reschedule(None)
            if await self._runtime.look_at(record.bot):
                return
            logger.warning("%s was removed behind the runner's back", record.name)
            await self._runtime.settle(record.bot, ())
            await self._reporter.tell(EventType.REMOVED, record, reason="removed_from_outside")

    async def release(self, bot: BotKey) -> None:
        """Remove the networks of a bot that it does not use."""
        async with asyncio.timeout(CLAIM_SECONDS) as limit, self._admission.exclusively(bot):
            limit.reschedule(None)
            await self._runtime.release_networks(bot)
