"""The loop that looks after the bots: what runs is held against what should run, and put right."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from time import monotonic, time

from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.container_state import ContainerState, Survey, principal
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.policy import Action, Policy
from bot_runner_worker.bots.protocol import BotRuntime, EngineRun
from bot_runner_worker.bots.reconciler import Reconciler
from bot_runner_worker.bots.reports import Reporter
from bot_runner_worker.bots.work_queue import WorkQueue
from bot_runner_worker.engine import ENGINE_TROUBLE
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.results import timestamp
from bot_runner_worker.model.spec import BotRecord
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds after which the bots are looked at although no event says so."""

DEBOUNCE = 0.1
"""Seconds after an event in which others are waited for."""

WAITING = 0.5
"""Seconds between two looks while a bot has to wait for something."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
"""Seconds before the Engine is asked again after it did not answer."""

GRACE_OF_OTHERS = 20.0
"""Seconds, besides the grace time, in which a signal counts as the cause of an end."""

Clock = Callable[[], datetime]

_WAKING = frozenset({"die", "destroy", "pause", "rename", "start"})


class Supervisor:
    """Looks after the bots of one runner, while it is the worker that leads.

    Events of the Engine only wake the loop up: what is done follows from what is seen then. Each bot is
    attended to in a task of its own, so that one that takes long to stop keeps nobody waiting.

    Args:
        settings: Limits in time and number.
        announcer: Told of what happens to bots.
        runtime: Where bots run.
        admission: Serialises the work on each bot.
        leads: Whether this worker is the one that looks after the bots; by default it always is.
    """

    def __init__(
        self,
        settings: Settings,
        announcer: Announcer,
        runtime: BotRuntime,
        admission: Admission,
        leads: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._namespace = settings.runner_namespace
        self._window = float(settings.crash_window_seconds)
        self._runtime = runtime
        self._admission = admission
        self._leads = leads
        self._deaths = ExitHistory(self._window, settings.stop_grace_seconds + GRACE_OF_OTHERS)
        self._judge = Policy(settings, self._deaths)
        reporter = Reporter(runtime, announcer)
        self._reconciler = Reconciler(
            runtime, admission, reporter, self._deaths, self._judge, settings.container_disk_limit
        )
        self._attending = WorkQueue()

        self._run: EngineRun | None = None
        self._last_run = EngineRun()
        self._known: dict[str, ContainerState] = {}
        # Since the look that is going on has begun.
        self._changed: set[str] = set()
        self._lost = False
        self._bots: dict[BotKey, BotRecord] = {}
        self._live: frozenset[str] = frozenset()
        self._next_sweep = 0.0
        self._woken = asyncio.Event()
        self._hurry = asyncio.Event()

        self.last_seen: Sequence[BotRecord] = ()
        """All bots as they were at the last look; empty while another worker leads."""
        self.last_pass: str | None = None
        """When the bots were last looked at, or another worker was found to do it: RFC 3339."""
        self.last_pass_monotonic: float | None = None
        """The same on the monotonic clock."""

    async def run(self) -> None:
        """Look after the bots until cancelled, whatever happens to the Engine meanwhile."""
        listening = asyncio.create_task(self._listen())
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    seconds = await self.look()
                except ENGINE_TROUBLE as error:
                    logger.warning("the bots could not be looked after: %s", error)
                except Exception:
                    logger.exception("the bots could not be looked after")
                else:
                    pause = FIRST_PAUSE
                    await self._sleep(seconds)
                    continue
                self._forget()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            listening.cancel()
            await self._attending.end()

    async def check(self, now: Clock | None = None) -> None:
        """Look at the bots once, and return when all that was to be done is done.

        Args:
            now: The time on the wall.
        """
        self._forget()
        self._next_sweep = 0.0
        await self.look(now)
        await self._attending.done()

    # Events

    async def _listen(self) -> None:
        since = time() - self._window
        pause = FIRST_PAUSE
        while True:
            try:
                async with aclosing(self._runtime.events(since)) as events:
                    async for event in events:
                        pause = FIRST_PAUSE
                        since = event.at
                        if self._deaths.note(event):
                            self._known.pop(event.container, None)
                            self._changed.add(event.container)
                            self._wake(event.action, event.container)
            except ENGINE_TROUBLE as error:
                logger.warning("the Engine's events are lost for now: %s", error)
            except Exception:
                logger.exception("the Engine's events are lost for now")
            # What happens from here on may never be told.
            self._forget()
            self._lost = True
            self._woken.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _wake(self, action: str, container: str) -> None:
        if action in _WAKING:
            self._woken.set()
        if action == "die" and self._judge.is_given_up(container):
            # Before the Engine starts it once more.
            self._hurry.set()

    def _forget(self) -> None:
        self._known.clear()
        self._run = None

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
            async with asyncio.timeout(DEBOUNCE):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._woken.clear()
        self._hurry.clear()

    # Looking

    async def look(self, now: Clock | None = None) -> float:
        """Look at all bots once, and begin to attend to those that need it.

        Args:
            now: The time on the wall.

        Returns:
            Seconds after which to look again, even if no event says so.

        Raises:
            EngineError: If the Engine refuses something.
            Unavailable: If the Engine does not answer.
        """
        now = now or _wall_clock
        if self._leads is not None and not await self._leads():
            self._step_back()
            return INTERVAL
        sweeps = monotonic() >= self._next_sweep
        with_networks = await self._runtime.bots_with_unused_networks() if sweeps else set()
        run = self._run = self._run or await self._runtime.current_run()
        self._changed.clear()
        self._lost = False
        survey = await self._runtime.survey(self._known)
        # Asked last: whoever made what has been seen had a claim, or has finished.
        busy = await self._admission.busy()
        self._take_in(survey, run)
        if any(self._judge.was_signalled(each) for found in survey.values() for each in found):
            await self._runtime.check_not_ending()
        waiting = self._attend(survey, busy, run, now)
        self._bury(survey, busy)
        if sweeps:
            for bot in with_networks - busy:
                self._attending.begin(bot, partial(self._reconciler.release, bot))
            await self._runtime.sweep(self._admission.at_work)
            self._next_sweep = monotonic() + INTERVAL
        self._passed()
        next_try = self._attending.seconds_to_next_try()
        return min(max(next_try, WAITING), WAITING if waiting else INTERVAL)

    def _step_back(self) -> None:
        self._forget()
        self._bots.clear()
        self._live = frozenset()
        self.last_seen = ()
        self._passed()

    def _passed(self) -> None:
        self.last_pass = timestamp(datetime.now(UTC))
        self.last_pass_monotonic = monotonic()

    def _take_in(self, survey: Survey, run: EngineRun) -> None:
        sightings = [each for found in survey.values() for each in found]
        if run.id != self._last_run.id and self._last_run.id:
            logger.info("the Engine has been started anew")
            for each in sightings:
                if each.record.id in self._live and not each.runs and each.record.exit_code == 0:
                    self._deaths.interrupt(each.record.id)
        self._last_run = run
        self._known = {each.record.id: each for each in sightings if each.record.id not in self._changed}
        if self._lost:
            self._forget()
        self._live = frozenset(each.record.id for each in sightings if each.runs)
        containers = {each.record.id for each in sightings}
        self._deaths.keep(containers)
        self._reconciler.keep(containers)
        self._attending.keep(survey.keys() | self._bots.keys())

    def _attend(self, survey: Survey, busy: set[BotKey], run: EngineRun, now: Clock) -> bool:
        waiting = False
        records = []
        for bot, sightings in survey.items():
            found = principal(sightings, bot.container_name(self._namespace))
            if found is not None:
                records.append(found.record)
            if bot in busy:
                continue
            step = self._judge.next_step(bot, sightings, run, now())
            if step is Action.WAIT:
                waiting = True
            elif step is not None:
                self._attending.begin(bot, partial(self._attend_one, bot, run, now))
            if found is not None and step is not Action.SETTLE:
                self._bots[bot] = found.record
        self.last_seen = sorted(records, key=lambda each: (each.started_at, each.bot.bot_id))
        return waiting

    async def _attend_one(self, bot: BotKey, run: EngineRun, now: Clock) -> None:
        if not await self._reconciler.attend(bot, run, now):
            self._bots.pop(bot, None)

    def _bury(self, survey: Survey, busy: set[BotKey]) -> None:
        for bot, record in self._bots.items():
            if bot not in survey and bot not in busy:
                self._attending.begin(bot, partial(self._bury_one, record))

    async def _bury_one(self, record: BotRecord) -> None:
        await self._reconciler.bury(record)
        self._bots.pop(record.bot, None)


def _wall_clock() -> datetime:
    return datetime.now(UTC)
