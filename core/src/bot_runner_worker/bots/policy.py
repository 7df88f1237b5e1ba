"""The policy: what to do about a bot, from the state of its containers.

A bot without an end reason should run. One that does not was interrupted (it comes back), or has ended by
itself with exit code 0 (that is final), or failed (it is started again until it is given up). Exit code 0
alone proves nothing: a bot that handles SIGTERM ends with it when the Engine is stopped, and the Engine does
not start such a bot again. It was interrupted

1. if it was sent a signal before it ended, as each stop and each end of an Engine does (the events tell); or
2. if it had ended before the Engine's current run began: whoever was there to see an end of its own would
   have noted its reason at once, and what nobody saw is better repeated than lost; or
3. if it was live when this worker last looked, and the Engine has been started anew since then, whatever
   the clocks say.
"""

from datetime import datetime, timedelta
from time import monotonic

from bot_runner_worker.bots.container_state import ContainerState, EngineRun, is_tidy
from bot_runner_worker.bots.exit_history import ExitHistory
from bot_runner_worker.bots.kept import KeptBots
from bot_runner_worker.bots.protocol import Action
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.settings import Settings

REVIVAL_DELAY = 2.0
"""Seconds for which a bot is left down: an Engine that ends stops all bots first, and then itself."""

BOOST_TIMEOUT = 10.0
"""Seconds for which a CPU boost may last longer, before the supervisor ends it in its worker's place."""


class Policy:
    """Decides what to do about a bot next."""

    def __init__(self, settings: Settings, exits: ExitHistory) -> None:
        self._namespace = settings.runner_namespace
        self._limit = settings.crash_limit
        self._window = timedelta(seconds=settings.crash_window_seconds)
        self._retention = timedelta(hours=settings.retention_hours)
        self._warning = timedelta(minutes=settings.expiry_warning_minutes)
        self._boost = timedelta(seconds=settings.start_burst_seconds + BOOST_TIMEOUT)
        self._exits = exits
        self.kept = KeptBots(settings)

    def is_given_up(self, container: str) -> bool:
        """Whether a container has failed too often of late."""
        return len(self._exits.failures(container)) >= self._limit

    def decide(
        self, bot: BotKey, found: tuple[ContainerState, ...], run: EngineRun, now: datetime
    ) -> Action | None:
        """Decide what to do about a bot next; ``None`` if all is as it should be.

        Args:
            bot: The bot.
            found: All its containers.
            run: The Engine's current run.
            now: The time on the wall, by which deadlines are kept.
        """
        if not found:
            return None
        if not is_tidy(found, bot.container_name(self._namespace)):
            return Action.SETTLE
        (container,) = found
        if container.record.end_reason is not None:
            return self._after_its_end(container, now)
        if self._gives_up(container, now):
            return Action.GIVE_UP
        if not container.runs and self._exited(container, run):
            return Action.ACCEPT_EXIT
        if container.record.expires_at <= now:
            return Action.EXPIRE
        if not container.runs or container.state == "paused" or not container.connected:
            return self._revive(container)
        if self._is_boosted_for_long(container, now):
            return Action.END_BOOST
        return Action.WARN if self._warns(container, now) else None

    def _after_its_end(self, container: ContainerState, now: datetime) -> Action | None:
        if container.runs:
            return Action.FINISH
        finished_at = container.record.finished_at
        if finished_at is not None and now - finished_at > self._retention:
            return Action.REMOVE
        if self.kept.is_surplus(container.record):
            return Action.REMOVE
        return None

    def _gives_up(self, container: ContainerState, now: datetime) -> bool:
        record = container.record
        if self.is_given_up(record.id):
            return True
        # The events may have been lost. What the Engine counted is as good if all of it is recent.
        age = now - container.created_at if container.created_at else timedelta.max
        return record.restart_count >= self._limit and timedelta(0) <= age <= self._window

    def _exited(self, container: ContainerState, run: EngineRun) -> bool:
        record = container.record
        if record.exit_code != 0:
            return False
        last = self._exits.last(record.id)
        if last is not None and last.asked_for:
            return False
        return run.began_at is None or record.finished_at is None or record.finished_at >= run.began_at

    def _revive(self, container: ContainerState) -> Action:
        last = self._exits.last(container.record.id)
        if not container.runs and last is not None and monotonic() - last.at < REVIVAL_DELAY:
            return Action.WAIT
        return Action.REVIVE

    def _is_boosted_for_long(self, container: ContainerState, now: datetime) -> bool:
        record = container.record
        # In between two failures the Engine may refuse to end it.
        if record.cpu_limit is None or container.state != "running":
            return False
        # The clock may have been set back.
        return not timedelta(0) <= now - record.started_at <= self._boost

    def _warns(self, container: ContainerState, now: datetime) -> bool:
        record = container.record
        if not self._warning or record.warned or record.expires_at - record.started_at < 2 * self._warning:
            return False
        # One that is down between two failures has other worries.
        return container.state == "running" and record.expires_at - now <= self._warning
