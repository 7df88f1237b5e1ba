"""How the worker is, put together from those who watch; asked by the HTTP server, bounded and cheap."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from time import monotonic
from typing import Any, Protocol

from bot_runner_worker import __version__
from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.engine_watch import EngineWatch
from bot_runner_worker.diagnostics.isolation_watch import IsolationWatch
from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.engine import EngineError
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.isolation.probe import Level
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.results import timestamp
from bot_runner_worker.runner import Runner

logger = logging.getLogger(__name__)

FRESH = 5.0
"""Seconds for which an answer of the Engine serves all who ask."""

PATIENCE = 5.0
"""Seconds that the Engine has for such an answer; whoever asks gets the last one instead."""

HOOK_HANGS = 30.0
"""Seconds after which a plugin that does nothing but hear of an event hangs."""


class Connection(Protocol):
    """The worker's side of the orchestrator."""

    draining: bool

    @property
    def tasks_running(self) -> int:
        """Tasks that the worker is at."""
        ...

    @property
    def results_waiting(self) -> int:
        """Results that are not delivered yet."""
        ...

    @property
    def events_waiting(self) -> int:
        """Events that are not delivered yet."""
        ...

    @property
    def events_dropped(self) -> int:
        """Events that were lost."""
        ...

    def check(self) -> Check:
        """What to say about the orchestrator."""
        ...


class Health:
    """How the worker is.

    Args:
        runner: The runner.
        engine: Watches its Engine.
        isolation: Watches how its bots are kept apart.
        connection: The orchestrator, as seen from here.
        metrics: Filled in by :meth:`metrics_text`.
        supervision: When the bots were last looked after: ``last_pass`` in RFC 3339, and ``seconds_ago``;
            both ``None`` if they were not.
    """

    def __init__(
        self,
        runner: Runner,
        engine: EngineWatch,
        isolation: IsolationWatch,
        connection: Connection,
        metrics: Metrics,
        supervision: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._runner = runner
        self._settings = runner.settings
        self._engine = engine
        self._isolation = isolation
        self._connection = connection
        self._metrics = metrics
        self._supervision = supervision
        self._disk = EngineDisk(runner.engine, runner.settings)
        self._begun = monotonic()
        self._asking = asyncio.Lock()
        self._free: int | None = None
        self._disk_check = Check(findings.DISK, State.WARNING, "not looked at yet")
        self._disk_at = self._bots_at = float("-inf")
        self._bots: Counter[tuple[str, str]] = Counter()

    async def not_ready(self) -> list[str]:
        """Why the worker takes no tasks, or should not; empty if it is ready."""
        reasons = ["it was told to stop"] if self._connection.draining else []
        checks = (self._engine.check(), self._connection.check(), await self._look_at_disk())
        # A warning is no obstacle, except that an Engine that was not asked yet is none.
        bad = [
            check
            for check in checks
            if check.state is State.FAILED or (check.name == findings.ENGINE and not self._engine.up)
        ]
        return reasons + [f"{check.name}: {check.finding}" for check in bad]

    async def report(self) -> dict[str, Any]:
        """Everything, as JSON-ready data."""
        reasons = await self.not_ready()
        connection, isolation = self._connection, self._isolation
        checks = [
            self._engine.check(),
            connection.check(),
            await self._look_at_disk(),
            isolation.check,
        ]
        return {
            "status": "alive",
            "ready": not reasons,
            "not_ready": reasons,
            "draining": connection.draining,
            "version": __version__,
            "worker_id": self._settings.worker_id,
            "namespace": self._settings.runner_namespace,
            "uptime_seconds": round(monotonic() - self._begun),
            "checks": [asdict(check) for check in checks],
            "isolation": {
                "level": isolation.found.level,
                "reasons": list(isolation.found.reasons),
                "probed_at": timestamp(isolation.at) if isolation.at else None,
            },
            "disk": {"free_bytes": self._free, "floor_bytes": self._settings.min_free_disk},
            "tasks": {
                "running": connection.tasks_running,
                "results_waiting": connection.results_waiting,
                "events_waiting": connection.events_waiting,
                "events_dropped": connection.events_dropped,
            },
            "supervisor": dict(self._supervision()),
            "plugins_hanging": self._hanging(),
            "plugins_troubles": self._runner.plugins.troubles.report(),
        }

    async def metrics_text(self) -> bytes:
        """The metrics, as they are now."""
        metrics, connection = self._metrics, self._connection
        await self._look_at_disk()
        await self._look_at_bots()
        metrics.engine_up.set(self._engine.up)
        metrics.orchestrator_up.set(connection.check().state is State.OK)
        metrics.ready.set(not await self.not_ready())
        metrics.draining.set(connection.draining)
        if self._free is not None:
            metrics.disk_free.set(self._free)
        metrics.disk_floor.set(self._settings.min_free_disk)
        for level in Level:
            metrics.isolation.labels(level).set(level is self._isolation.found.level)
        metrics.tasks_running.set(connection.tasks_running)
        metrics.waiting.labels("results").set(connection.results_waiting)
        metrics.waiting.labels("events").set(connection.events_waiting)
        metrics.events_dropped.set(connection.events_dropped)
        metrics.hooks_hanging.set(len(self._hanging()))
        if (seconds := self._supervision()["seconds_ago"]) is not None:
            metrics.supervisor_age.set(seconds)
        uses = self._runner.images.uses
        metrics.image_lookups(uses.hits, uses.misses)
        if (kept := self._runner.retention.last) is not None:
            metrics.images.set(kept.images)
            metrics.images_bytes.set(kept.size)
        metrics.bots.clear()
        for (status, mode), count in self._bots.items():
            metrics.bots.labels(status, mode).set(count)
        return metrics.text()

    def _hanging(self) -> list[dict[str, Any]]:
        found = self._runner.plugins.hearing.longer_than(HOOK_HANGS)
        found += self._runner.plugins.deploying.longer_than(self._longest_stage())
        return [{"call": name, "seconds": round(seconds)} for name, seconds in found[:20]]

    def _longest_stage(self) -> float:
        settings = self._settings
        # Building and pulling count here, which they do not towards the time that a plugin has.
        longest = settings.build_timeout_seconds + settings.pull_timeout_seconds
        return max(longest, 2 * settings.source_timeout_seconds) + settings.hook_timeout_seconds

    async def _look_at_disk(self) -> Check:
        async with self._asking:
            if monotonic() - self._disk_at > FRESH:
                self._disk_at = monotonic()
                try:
                    async with asyncio.timeout(PATIENCE):
                        self._free = await self._disk.free() if self._engine.up else self._free
                except (BotRunnerError, EngineError, TimeoutError) as error:
                    self._disk_check = Check(findings.DISK, State.WARNING, str(error) or "no answer in time")
                else:
                    self._disk_check = findings.disk(self._free, self._settings.min_free_disk)
        return self._disk_check

    async def _look_at_bots(self) -> None:
        async with self._asking:
            if monotonic() - self._bots_at <= FRESH or not self._engine.up:
                return
            self._bots_at = monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    records = await self._runner.runtime.list_bots()
            except (BotRunnerError, EngineError, TimeoutError) as error:
                logger.debug("the bots were not counted: %s", error)
            else:
                self._bots = Counter((record.status.value, record.mode) for record in records)
