"""The reconciler does what the policy decides, one bot at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from time import monotonic

from bot_runner_worker.aio import backoff, run_to_completion
from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.container_state import ContainerState, EngineRun, Snapshot
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.policy import Policy
from bot_runner_worker.bots.protocol import Action, SupervisedRuntime
from bot_runner_worker.engine import ENGINE_TROUBLE
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.events import EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import timestamp
from bot_runner_worker.model.spec import BotRecord, EndReason
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

HOLD_TIMEOUT = 30.0
"""Seconds to wait for a bot on which somebody works; then it is left alone until the next look."""

EVENT_DELAY = 0.5
"""Seconds to wait for the events that belong to an end that was seen."""

BOTS_AT_ONCE = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a bot for which nothing could be done is reconciled again."""

_MAX_ACTIONS = 6

Clock = Callable[[], datetime]


class WorkQueue:
    """One task for each bot, a few at a time. After a failure comes a pause that grows."""

    def __init__(self) -> None:
        self._tasks: dict[BotKey, asyncio.Task[None]] = {}
        self._pauses: dict[BotKey, tuple[float, Iterator[float]]] = {}
        self._slots = asyncio.Semaphore(BOTS_AT_ONCE)

    def add(self, bot: BotKey, work: Callable[[], Awaitable[None]]) -> None:
        """Begin the work on a bot, unless that is going on or has just failed.

        Args:
            bot: The bot.
            work: What to do; whatever it raises is logged.
        """
        not_before, _ = self._pauses.get(bot, (0.0, None))
        if bot not in self._tasks and monotonic() >= not_before:
            self._tasks[bot] = asyncio.create_task(self._do(bot, work))

    async def _do(self, bot: BotKey, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._slots:
                await work()
        except (BotRunnerError, *ENGINE_TROUBLE, TimeoutError) as error:
            self._pause(bot)
            logger.warning("the bot %r/%r could not be reconciled: %s", bot.user_id, bot.bot_id, error)
        except Exception:
            self._pause(bot)
            logger.exception("the bot %r/%r could not be reconciled", bot.user_id, bot.bot_id)
        else:
            self._pauses.pop(bot, None)
        finally:
            del self._tasks[bot]

    def _pause(self, bot: BotKey) -> None:
        _, pauses = self._pauses.get(bot, (0.0, backoff(FIRST_PAUSE, LONGEST_PAUSE)))
        self._pauses[bot] = (monotonic() + next(pauses), pauses)

    def seconds_to_next_try(self) -> float:
        """Seconds until the next bot that failed may be tried again; or infinity."""
        return min((at - monotonic() for at, _ in self._pauses.values()), default=float("inf"))

    def keep(self, bots: set[BotKey]) -> None:
        """Forget the failures with all other bots."""
        self._pauses = {bot: pause for bot, pause in self._pauses.items() if bot in bots}

    async def wait(self) -> None:
        """Wait until no bot is reconciled any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def cancel(self) -> None:
        """End all tasks; what has begun to be done to a bot is finished first."""
        for task in self._tasks.values():
            task.cancel()
        await self.wait()


class Reconciler:
    """Brings bots to the state that they should be in."""

    def __init__(
        self,
        settings: Settings,
        runtime: SupervisedRuntime,
        admission: Admission,
        announcer: Announcer,
        exits: ExitHistory,
    ) -> None:
        self._runtime = runtime
        self._admission = admission
        self._announcer = announcer
        self._exits = exits
        self._disk_limit = settings.container_disk_limit
        self.policy = Policy(settings, exits)
        # Bots as they were seen last: one that is not there any more was removed from outside.
        self._seen: dict[BotKey, BotRecord] = {}
        self.queue = WorkQueue()

    def enqueue(self, snapshot: Snapshot, busy: set[BotKey], now: Clock) -> bool:
        """Begin to reconcile the bots that need it.

        Args:
            snapshot: All bots' containers.
            busy: Bots that somebody works on: they are left alone.
            now: The time on the wall.

        Returns:
            Whether a bot waits for something, and should be looked at again soon.
        """
        run, bots = snapshot.run or EngineRun(), snapshot.by_bot()
        self.queue.keep(bots.keys() | self._seen.keys())
        ended = (each for bot, found in bots.items() if bot not in busy for each in found if each.has_ended)
        for record in self.policy.kept.look(ended):
            self.queue.add(record.bot, partial(self._measure, record.bot))
        waiting = False
        for bot, found in bots.items():
            if bot in busy:
                continue
            action = self.policy.decide(bot, found, run, now())
            if action is Action.WAIT:
                waiting = True
            elif action is not None:
                self.begin(bot, run, now)
            if action is not Action.SETTLE:
                self._seen[bot] = found[0].record
        for bot in self._seen.keys() - bots.keys() - busy:
            self.begin(bot, run, now)
        return waiting

    def begin(self, bot: BotKey, run: EngineRun, now: Clock) -> None:
        """Begin to :meth:`reconcile` a bot, unless that is going on or has just failed."""
        self.queue.add(bot, partial(self.reconcile, bot, run, now))

    async def reconcile(self, bot: BotKey, run: EngineRun, now: Clock) -> None:
        """Act on a bot until all is as it should be.

        Raises:
            BotRunnerError: If something cannot be done now.
            EngineError: If the Engine refuses something.
            TimeoutError: If somebody else works on the bot.
        """
        async with asyncio.timeout(HOLD_TIMEOUT) as limit, self._admission.exclusively(bot):
            limit.reschedule(None)
            for _ in range(_MAX_ACTIONS):
                found = await self._runtime.inspect(bot)
                action = self.policy.decide(bot, found, run, now())
                if action is Action.ACCEPT_EXIT and self._exits.last(found[0].record.id) is None:
                    # The events come by another way than what is seen, and may be a moment late.
                    await asyncio.sleep(EVENT_DELAY)
                    action = self.policy.decide(bot, found, run, now())
                if action is None or action is Action.WAIT:
                    await self._runtime.act(Action.RELEASE_NETWORKS, bot, found)
                    if not found:
                        await self._finish_removed(bot)
                    return
                # To its end, even if the worker ends: what is done to a bot is announced as well.
                await run_to_completion(self._act(action, bot, found))
                if action is Action.REMOVE:
                    return

    async def _measure(self, bot: BotKey) -> None:
        for each in await self._runtime.inspect(bot, size=True):
            if each.has_ended:
                self.policy.kept.note(each)

    async def _finish_removed(self, bot: BotKey) -> None:
        record = self._seen.pop(bot, None)
        if record is not None:
            logger.warning("%s was removed behind the runner's back", record.name)
            await self._announcer.tell(EventType.REMOVED, record, reason="removed_from_outside")

    async def _act(self, action: Action, bot: BotKey, found: tuple[ContainerState, ...]) -> None:
        record = found[0].record
        match action:
            case Action.FINISH:
                await self._finish(record)
            case Action.GIVE_UP:
                await self._give_up(record)
            case Action.ACCEPT_EXIT:
                await self._end(record, EndReason.EXITED)
            case Action.EXPIRE:
                await self._end(record, EndReason.EXPIRED)
            case Action.REMOVE:
                await self._runtime.remove(record)
                self._seen.pop(bot, None)
                reason = "kept_bots_limit" if self.policy.kept.is_surplus(record) else "retention"
                await self._announcer.tell(EventType.REMOVED, record, reason=reason)
            case Action.WARN:
                # First the mark: a warning may be lost, but is never repeated.
                await self._runtime.act(action, bot, found)
                expires_at = timestamp(record.expires_at)
                await self._announcer.tell(EventType.EXPIRING, record, expires_at=expires_at)
            case Action.REVIVE:
                logger.info("%s should run and does not (%s): bringing it back", record.name, found[0].state)
                await self._runtime.act(action, bot, found)
            case _:
                await self._runtime.act(action, bot, found)

    async def _finish(self, record: BotRecord) -> None:
        reason = record.end_reason or EndReason.STOPPED
        if self._exits.is_announced(record.id, reason):
            # The Engine was about to start it once more when it was ended: nothing new.
            await self._runtime.end(record, reason)
        else:
            await self._end(record, reason)

    async def _give_up(self, record: BotRecord) -> None:
        found = await self._runtime.inspect(record.bot, size=True)
        used = next((each.disk_bytes for each in found if each.record.id == record.id), 0)
        if used > self._disk_limit:
            # Its file could not grow further, and the bot died of that before the watch came by.
            await self._end(record, EndReason.DISK_LIMIT, disk_bytes=used, limit_bytes=self._disk_limit)
        else:
            await self._end(self._as_it_failed(record), EndReason.CRASHED)

    def _as_it_failed(self, record: BotRecord) -> BotRecord:
        # It may be running again, or have been stopped since.
        failures = self._exits.failures(record.id)
        if not failures:
            return record
        last = failures[-1]
        # Of the last one, it may not have been told yet.
        alike = any(each.oom_killed for each in failures if each.exit_code == last.exit_code)
        return replace(record, exit_code=last.exit_code, oom_killed=alike or record.oom_killed)

    async def _end(self, record: BotRecord, reason: EndReason, **details: int) -> None:
        await self._runtime.end(record, reason)
        self._exits.announce(record.id, reason)
        await self._announcer.tell_end(record, reason, **details)
