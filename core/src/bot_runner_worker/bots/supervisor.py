"""The supervisor compares what runs with what should run, and puts it right."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from time import monotonic, time

from bot_runner_worker.aio import backoff
from bot_runner_worker.bots.admission import Admission
from bot_runner_worker.bots.announcements import Announcer
from bot_runner_worker.bots.container_state import EngineRun, Snapshot, in_order, principal
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.protocol import SupervisedRuntime
from bot_runner_worker.bots.reconciler import Clock, Reconciler
from bot_runner_worker.engine import ENGINE_TROUBLE
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

_WAKING = frozenset({"die", "destroy", "pause", "rename", "start"})


class Supervisor:
    """Looks after the bots of one runner.

    Events of the Engine only wake the loop up: what is done follows from what is seen then. Each bot is
    reconciled in a task of its own, so that one that takes long to stop keeps nobody waiting.
    """

    def __init__(
        self, settings: Settings, announcer: Announcer, runtime: SupervisedRuntime, admission: Admission
    ) -> None:
        self._namespace = settings.runner_namespace
        self._window = float(settings.crash_window_seconds)
        self._runtime = runtime
        self._admission = admission
        self._exits = ExitHistory(self._window, settings.stop_grace_seconds + GRACE_OF_OTHERS)
        self._reconciler = Reconciler(settings, runtime, admission, announcer, self._exits)
        self._known = Snapshot()
        # Since the look that is going on has begun.
        self._changed: set[str] = set()
        self._lost = False
        self._last_run = EngineRun()
        self._live: frozenset[str] = frozenset()
        self._next_sweep = 0.0
        self._woken = asyncio.Event()
        self._hurry = asyncio.Event()

        self.last_seen: Sequence[BotRecord] = ()
        """All bots as they were at the last look."""
        self.last_pass: str | None = None
        """When the bots were last looked at: RFC 3339."""
        self.last_pass_monotonic: float | None = None
        """The same on the monotonic clock."""

    async def run(self) -> None:
        """Look after the bots until cancelled, whatever happens to the Engine meanwhile."""
        listening = asyncio.create_task(self._listen())
        pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
        try:
            while True:
                try:
                    seconds = await self.look()
                except ENGINE_TROUBLE as error:
                    logger.warning("the bots could not be looked after: %s", error)
                except Exception:
                    logger.exception("the bots could not be looked after")
                else:
                    pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
                    await self._sleep(seconds)
                    continue
                self._known = Snapshot()
                await asyncio.sleep(next(pauses))
        finally:
            listening.cancel()
            await self._reconciler.queue.cancel()

    async def check(self, now: Clock | None = None) -> None:
        """Look at the bots once, and return when all that was to be done is done."""
        self._known = Snapshot()
        self._next_sweep = 0.0
        await self.look(now)
        await self._reconciler.queue.wait()

    # Events

    async def _listen(self) -> None:
        since = time() - self._window
        pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            try:
                async with aclosing(self._runtime.events(since)) as events:
                    async for event in events:
                        pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE)
                        since = event.at
                        if self._exits.note(event):
                            self._known.containers.pop(event.container, None)
                            self._changed.add(event.container)
                            self._wake(event.action, event.container)
            except ENGINE_TROUBLE as error:
                logger.warning("the Engine's events are lost for now: %s", error)
            except Exception:
                logger.exception("the Engine's events are lost for now")
            # What happens from here on may never be told.
            self._known = Snapshot()
            self._lost = True
            self._woken.set()
            await asyncio.sleep(next(pauses))

    def _wake(self, action: str, container: str) -> None:
        if action in _WAKING:
            self._woken.set()
        if action == "die" and self._reconciler.policy.is_given_up(container):
            # Before the Engine starts it once more.
            self._hurry.set()

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
        """Look at all bots once, and begin to reconcile those that need it.

        Returns:
            Seconds after which to look again, even if no event says so.
        """
        now = now or _wall_clock
        self._changed.clear()
        self._lost = False
        snapshot = await self._runtime.inspect_all(self._known)
        run = snapshot.run or EngineRun()
        # Asked last: whoever made what has been seen is still busy, or has finished.
        busy = self._admission.busy()
        self._take_in(snapshot, run)
        waiting = self._reconciler.enqueue(snapshot, busy, now)
        if monotonic() >= self._next_sweep:
            _, with_networks = await self._runtime.sweep(self._admission.at_work)
            for bot in with_networks - self._admission.busy():
                self._reconciler.begin(bot, run, now)
            self._next_sweep = monotonic() + INTERVAL
        self.last_pass = timestamp(datetime.now(UTC))
        self.last_pass_monotonic = monotonic()
        next_try = self._reconciler.queue.seconds_to_next_try()
        return min(max(next_try, WAITING), WAITING if waiting else INTERVAL)

    def _take_in(self, snapshot: Snapshot, run: EngineRun) -> None:
        found = snapshot.containers
        if run.id != self._last_run.id and self._last_run.id:
            logger.info("the Engine has been started anew")
            for each in found.values():
                if each.record.id in self._live and not each.runs and each.record.exit_code == 0:
                    self._exits.interrupt(each.record.id)
        self._last_run = run
        unchanged = {name: each for name, each in found.items() if name not in self._changed}
        self._known = Snapshot() if self._lost else Snapshot(run, unchanged)
        self._live = frozenset(name for name, each in found.items() if each.runs)
        self._exits.keep(found.keys())
        bots = [
            principal(each, bot.container_name(self._namespace)) for bot, each in snapshot.by_bot().items()
        ]
        self.last_seen = in_order(each.record for each in bots if each is not None)


def _wall_clock() -> datetime:
    return datetime.now(UTC)
