"""What to do about a bot: a judgement from what is seen of it, without any effect.

A bot without a verdict should run. One that does not, and that nobody has judged, was interrupted (it comes
back), or has ended by itself with exit code 0 (that is final), or failed (it is started again until it is
given up). Exit code 0 alone proves nothing: a bot that handles SIGTERM ends with it when the Engine is
stopped, and the Engine does not start such a bot again. It was interrupted

1. if it was sent a signal before it ended, as each stop and each end of an Engine does (the events tell); or
2. if it had ended before the Engine's current run began: whoever was there to see an end of its own would
   have judged it at once, and what nobody saw is better repeated than lost; or
3. if it was live when this worker last looked, and the Engine has been started anew since then, whatever
   the clocks say.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from time import monotonic

from bot_runner_worker.bots.container_state import ContainerState
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.protocol import EngineRun
from bot_runner_worker.bots.recovery import is_tidy
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.settings import Settings

REVIVAL_DELAY = 2.0
"""Seconds for which a bot is left down: an Engine that ends stops all bots first, and then itself."""


BURST_PATIENCE = 10.0
"""Seconds for which a start burst may last longer, before the supervisor ends it in its worker's place."""


class Action(StrEnum):
    """What to do about a bot next."""

    SETTLE = "settle"
    """Leave one container, under its name."""
    FINISH = "finish"
    """Stop it: whoever judged it died before that."""
    GIVE_UP = "give up"
    ACCEPT_EXIT = "accept exit"
    EXPIRE = "expire"
    WARN = "warn"
    """Say that its time is nearly over."""
    END_BURST = "end burst"
    """Bring it down to its CPU limit: the worker that started it died before that."""
    REVIVE = "revive"
    WAIT = "wait"
    """Look again soon."""
    REMOVE = "remove"
    """It has been readable for long enough."""


class Policy:
    """Says what to do about a bot next.

    Args:
        settings: Limits in time and number.
        deaths: How containers ended.
    """

    def __init__(self, settings: Settings, deaths: ExitHistory) -> None:
        self._namespace = settings.runner_namespace
        self._limit = settings.crash_limit
        self._window = timedelta(seconds=settings.crash_window_seconds)
        self._retention = timedelta(hours=settings.retention_hours)
        self._warning = timedelta(minutes=settings.expiry_warning_minutes)
        self._burst = timedelta(seconds=settings.start_burst_seconds + BURST_PATIENCE)
        self._deaths = deaths

    def is_given_up(self, container: str) -> bool:
        """Whether a container has failed too often of late."""
        return len(self._deaths.failures(container)) >= self._limit

    def was_signalled(self, sighting: ContainerState) -> bool:
        """Whether a container that should run was ended by somebody: the Engine itself, perhaps."""
        death = self._deaths.last(sighting.record.id)
        down = sighting.record.verdict is None and not sighting.runs
        return down and death is not None and death.asked_for

    def next_step(
        self, bot: BotKey, sightings: tuple[ContainerState, ...], run: EngineRun, now: datetime
    ) -> Action | None:
        """What to do about a bot next; ``None`` if all is as it should be.

        Args:
            bot: The bot.
            sightings: All its containers.
            run: The Engine's current run.
            now: The time on the wall, by which deadlines are kept.
        """
        if not sightings:
            return None
        if not is_tidy(sightings, bot.container_name(self._namespace)):
            return Action.SETTLE
        (sighting,) = sightings
        if sighting.record.verdict is not None:
            return self._after_its_end(sighting, now)
        if self._gives_up(sighting, now):
            return Action.GIVE_UP
        if not sighting.runs and self._exited(sighting, run):
            return Action.ACCEPT_EXIT
        if sighting.record.expires_at <= now:
            return Action.EXPIRE
        if not sighting.runs or sighting.state == "paused" or not sighting.connected:
            return self._revive(sighting)
        if self._bursts_for_long(sighting, now):
            return Action.END_BURST
        return Action.WARN if self._warns(sighting, now) else None

    def _after_its_end(self, sighting: ContainerState, now: datetime) -> Action | None:
        if sighting.runs:
            return Action.FINISH
        finished_at = sighting.record.finished_at
        if finished_at is not None and now - finished_at > self._retention:
            return Action.REMOVE
        return None

    def _gives_up(self, sighting: ContainerState, now: datetime) -> bool:
        record = sighting.record
        if self.is_given_up(record.id):
            return True
        # The events may have been lost. What the Engine counted is as good if all of it is recent.
        age = now - sighting.created_at if sighting.created_at else timedelta.max
        return record.restart_count >= self._limit and timedelta(0) <= age <= self._window

    def _exited(self, sighting: ContainerState, run: EngineRun) -> bool:
        record = sighting.record
        if record.exit_code != 0:
            return False
        death = self._deaths.last(record.id)
        if death is not None and death.asked_for:
            return False
        return run.began_at is None or record.finished_at is None or record.finished_at >= run.began_at

    def _revive(self, sighting: ContainerState) -> Action:
        death = self._deaths.last(sighting.record.id)
        if not sighting.runs and death is not None and monotonic() - death.at < REVIVAL_DELAY:
            return Action.WAIT
        return Action.REVIVE

    def _bursts_for_long(self, sighting: ContainerState, now: datetime) -> bool:
        record = sighting.record
        # In between two failures the Engine may refuse it.
        if record.cpu_limit is None or sighting.state != "running":
            return False
        # The clock may have been set back.
        return not timedelta(0) <= now - record.started_at <= self._burst

    def _warns(self, sighting: ContainerState, now: datetime) -> bool:
        record = sighting.record
        if not self._warning or record.warned or record.expires_at - record.started_at < 2 * self._warning:
            return False
        # One that is down between two failures has other worries.
        return sighting.state == "running" and record.expires_at - now <= self._warning
