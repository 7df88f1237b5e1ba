"""The worker's metrics for Prometheus; no label holds a user, a bot or anything that users choose."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from bot_runner_worker import __version__
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.tasks.task_runner import Observer

# They are a second series for each of ours, with the time of its first use.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
OTHER = "other"


class Metrics(Observer, Collector):
    """Counts and measures tasks and events; :mod:`.health` sets the gauges before they are read.

    Args:
        modes: The known deployment modes; others are counted together.
    """

    def __init__(self, modes: Collection[str] = ()) -> None:
        self.modes = frozenset(modes)
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("bot_runner_build_info", "Version of the worker.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        self.starts = Counter(
            "bot_runner_starts", "Starts by mode, and their result or error.", ["mode", "result"],
            registry=registry,
        )  # fmt: skip
        self.stages = Histogram(
            "bot_runner_start_stage_seconds", "Time that starts spend in each stage.", ["stage"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.tasks = Histogram(
            "bot_runner_task_seconds", "Time that tasks take, by their ending.", ["task", "ending"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.events = Counter(
            "bot_runner_bot_events", "What happened to bots, and why.", ["event", "reason"],
            registry=registry,
        )  # fmt: skip
        self.bots = self._gauge(
            "bots", "Bots of the namespace, whichever worker started them.", "status", "mode"
        )
        self.engine_up = self._gauge("engine_up", "Whether the Docker Engine answers.")
        self.disk_free = self._gauge("engine_disk_free_bytes", "Free room on the Engine's disk.")
        self.disk_floor = self._gauge(
            "engine_disk_floor_bytes", "Room below which nothing is built or pulled."
        )
        self.orchestrator_up = self._gauge(
            "orchestrator_up", "Whether the orchestrator was reached recently."
        )
        self.ready = self._gauge("ready", "Whether the worker takes tasks.")
        self.draining = self._gauge("draining", "Whether the worker was told to stop.")
        self.isolation = self._gauge("isolation", "How well bots are kept apart from the host.", "level")
        self.tasks_running = self._gauge("tasks_running", "Tasks that the worker is at.")
        self.tasks_waiting = self._gauge("tasks_waiting", "Tasks that wait for their bot or their turn.")
        self.waiting = self._gauge("undelivered", "What waits for the orchestrator.", "kind")
        self.events_dropped = self._gauge("events_dropped", "Events that were lost while it was away.")
        self.hooks_hanging = self._gauge("plugin_calls_hanging", "Calls of plugins that do not come back.")
        self.supervisor_age = self._gauge("supervisor_pass_age_seconds", "Time since bots were looked after.")
        self.images = self._gauge("image_cache_images", "Images that are kept.")
        self.images_bytes = self._gauge("image_cache_bytes", "Room that those take.")
        for unknown in (self.disk_free, self.supervisor_age, self.images, self.images_bytes):
            unknown.set(float("nan"))
        self._lookups = (0, 0)
        registry.register(self)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"bot_runner_{name}", text, labels, registry=self.registry)

    def task_ended(self, name: str, params: Any, outcome: Outcome, seconds: float) -> None:
        self.tasks.labels(name, outcome.ending.value).observe(seconds)
        if name == "start_bot":
            mode = params.get("deployment_mode") if isinstance(params, Mapping) else None
            known = mode if isinstance(mode, str) and mode in self.modes else OTHER
            if outcome.error is None:
                result = str(outcome.data.get("status", ""))
            else:
                # A plugin's codes are its own.
                code = str(outcome.error.get("code", ""))
                result = code if _CODE.fullmatch(code) else OTHER
            self.starts.labels(known, result).inc()

    def stages_ended(self, seconds: Mapping[str, float]) -> None:
        for stage, took in seconds.items():
            self.stages.labels(stage).observe(took)

    async def event_happened(self, event: BotEvent) -> None:
        """Count an event of a bot."""
        reason = event.details.get("reason") or ""
        stable = isinstance(reason, str) and (not reason or _WORD.fullmatch(reason))
        self.events.labels(event.type.value, reason if stable else OTHER).inc()

    def image_lookups(self, hits: int, misses: int) -> None:
        """Set how often an image was there, and how often it had to be made."""
        self._lookups = (hits, misses)

    def collect(self) -> Iterator[Metric]:
        """Yield what is counted elsewhere; called by prometheus_client."""
        lookups = CounterMetricFamily(
            "bot_runner_image_cache_lookups", "Images that were there, or had to be made.", labels=["result"]
        )
        for result, count in zip(("hit", "miss"), self._lookups, strict=True):
            lookups.add_metric([result], count)
        yield lookups

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
