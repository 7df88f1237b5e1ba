"""The worker's health, served as ``/health``, ``/ready`` and ``/metrics``: cheap, and never slow."""

import asyncio
import errno
import logging
import os
from collections import Counter
from time import monotonic
from typing import Any, Protocol, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from bot_runner_worker import __version__
from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.diagnostics.results import (
    DISK,
    ENGINE,
    ISOLATION,
    ORCHESTRATOR,
    CheckResult,
    State,
    disk_space,
    json_rows,
    warning,
)
from bot_runner_worker.diagnostics.watches import EngineWatch, IsolationWatch
from bot_runner_worker.engine import EngineError
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.isolation.probe import Level
from bot_runner_worker.lease import Lease
from bot_runner_worker.model.errors import BotRunnerError, SettingsError
from bot_runner_worker.model.results import timestamp
from bot_runner_worker.redaction import Redactor
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

CACHE_SECONDS = 5.0
"""Seconds for which an answer of the Engine is kept."""

TIMEOUT = 5.0
"""Seconds for an answer of the Engine; after that, the last one is used."""

HOOK_HANGS = 30.0
"""Seconds after which a plugin's event hook counts as hanging."""


class Connection(Protocol):
    """The worker's connection to the orchestrator."""

    draining: bool

    def counts(self) -> dict[str, int]:
        """``running`` tasks, ``results_waiting``, ``events_waiting`` and ``events_dropped``."""
        ...

    def check(self) -> CheckResult:
        """Whether the orchestrator was reached recently."""
        ...


class Health:
    """Collects the health of a worker's parts.

    Args:
        runner: The runner.
        engine: Watches its Engine.
        isolation: Watches the bots' isolation.
        connection: The connection to the orchestrator.
        metrics: Filled in by :meth:`metrics_text`.
        lease: The lease of its namespace; by default, it is the active worker.
    """

    def __init__(
        self,
        runner: Runner,
        engine: EngineWatch,
        isolation: IsolationWatch,
        connection: Connection,
        metrics: Metrics,
        lease: Lease | None = None,
    ) -> None:
        self._runner = runner
        self._settings = runner.settings
        self._engine = engine
        self._isolation = isolation
        self._connection = connection
        self._metrics = metrics
        self._lease = lease
        self._disk = EngineDisk(runner.engine, runner.settings)
        self._begun = monotonic()
        self._asking = asyncio.Lock()
        self._free: int | None = None
        self._disk_result = warning("not looked at yet")
        self._disk_at = self._bots_at = float("-inf")
        self._bots: Counter[tuple[str, str]] = Counter()

    async def not_ready(self) -> list[str]:
        """The reasons why the worker takes no tasks, or should not; empty if it is ready."""
        if self._lease is not None and not self._lease.held and self._lease.holder:
            return [f"standby: the worker {self._lease.holder} is active"]
        reasons = ["it was told to stop"] if self._connection.draining else []
        # A warning is no obstacle, but for an Engine that was not asked yet.
        return reasons + [
            f"{name}: {result.finding}"
            for name, result in (await self._checks() | {ISOLATION: self._isolation.result}).items()
            if result.state is State.FAILED or (name == ENGINE and not self._engine.up)
        ]

    async def warnings(self) -> list[str]:
        """What the operator should know of, such as a floor of free disk that is off; the worker is ready."""
        return [
            f"{name}: {result.finding}"
            for name, result in (await self._checks()).items()
            if result.state is State.WARNING
        ]

    async def _checks(self) -> dict[str, CheckResult]:
        return {
            ENGINE: self._engine.result,
            ORCHESTRATOR: self._connection.check(),
            DISK: await self._check_disk(),
        }

    async def report(self) -> dict[str, Any]:
        """The answer of ``/health``, as JSON-ready data."""
        reasons = await self.not_ready()
        connection, isolation = self._connection, self._isolation
        checks = await self._checks() | {ISOLATION: isolation.result}
        return {
            "status": "alive",
            "ready": not reasons,
            "not_ready": reasons,
            "draining": connection.draining,
            "version": __version__,
            "worker_id": self._settings.worker_id,
            "namespace": self._settings.runner_namespace,
            "uptime_seconds": round(monotonic() - self._begun),
            "checks": json_rows(checks),
            "isolation": {
                "level": isolation.found.level,
                "reasons": list(isolation.found.reasons),
                "probed_at": timestamp(isolation.at) if isolation.at else None,
            },
            "disk": {"free_bytes": self._free, "floor_bytes": self._settings.min_free_disk},
            "tasks": self._task_counts(),
            "supervisor": self._supervision(),
            "plugins_hanging": self._hanging(),
            "plugins_troubles": self._runner.plugins.errors.report(),
        }

    async def metrics_text(self) -> bytes:
        """The answer of ``/metrics``, with current values."""
        metrics, connection = self._metrics, self._connection
        await self._check_disk()
        await self._count_bots()
        metrics.engine_up.set(self._engine.up)
        metrics.orchestrator_up.set(connection.check().state is State.OK)
        metrics.ready.set(not await self.not_ready())
        metrics.draining.set(connection.draining)
        if self._free is not None:
            metrics.disk_free.set(self._free)
        metrics.disk_floor.set(self._settings.min_free_disk)
        for level in Level:
            metrics.isolation.labels(level).set(level is self._isolation.found.level)
        counts = self._task_counts()
        metrics.tasks_running.set(counts["running"])
        metrics.tasks_waiting.set(counts["waiting"])
        metrics.waiting.labels("results").set(counts["results_waiting"])
        metrics.waiting.labels("events").set(counts["events_waiting"])
        metrics.events_dropped.set(counts["events_dropped"])
        metrics.hooks_hanging.set(len(self._hanging()))
        if (seconds := self._supervision()["seconds_ago"]) is not None:
            metrics.supervisor_age.set(seconds)
        uses = self._runner.images.usage
        metrics.image_lookups(uses.hits, uses.misses)
        if (kept := self._runner.image_gc.last) is not None:
            metrics.images.set(kept.images)
            metrics.images_bytes.set(kept.size)
        metrics.bots.clear()
        for (status, mode), count in self._bots.items():
            metrics.bots.labels(status, mode).set(count)
        return metrics.text()

    def _task_counts(self) -> dict[str, int]:
        """The connection's counts, with those apart that wait for their bot or their turn."""
        counts, waiting = self._connection.counts(), self._runner.waiting
        return counts | {"running": max(0, counts["running"] - waiting), "waiting": waiting}

    def _supervision(self) -> dict[str, Any]:
        """The supervisor's last pass in RFC 3339, and how long it is ago; ``None`` before the first."""
        supervisor = self._runner.supervisor
        at = supervisor.last_pass_monotonic
        ago = None if at is None else round(monotonic() - at, 1)
        return {"last_pass": supervisor.last_pass, "seconds_ago": ago}

    def _hanging(self) -> list[dict[str, Any]]:
        found = self._runner.plugins.hearing.longer_than(HOOK_HANGS)
        found += self._runner.plugins.deploying.longer_than(self._longest_stage())
        return [{"call": name, "seconds": round(seconds)} for name, seconds in found[:20]]

    def _longest_stage(self) -> float:
        settings = self._settings
        # Building and pulling count here, which they do not towards the time that a plugin has.
        longest = settings.build_timeout_seconds + settings.pull_timeout_seconds
        return max(longest, 2 * settings.source_timeout_seconds) + settings.hook_timeout_seconds

    async def _check_disk(self) -> CheckResult:
        async with self._asking:
            if monotonic() - self._disk_at > CACHE_SECONDS:
                self._disk_at = monotonic()
                try:
                    async with asyncio.timeout(TIMEOUT):
                        self._free = await self._disk.free() if self._engine.up else self._free
                except (BotRunnerError, EngineError, TimeoutError) as error:
                    self._disk_result = warning(str(error) or "no answer in time")
                else:
                    self._disk_result = disk_space(self._free, self._settings.min_free_disk)
        return self._disk_result

    async def _count_bots(self) -> None:
        async with self._asking:
            if monotonic() - self._bots_at <= CACHE_SECONDS or not self._engine.up:
                return
            self._bots_at = monotonic()
            try:
                async with asyncio.timeout(TIMEOUT):
                    records = await self._runner.runtime.list_bots()
            except (BotRunnerError, EngineError, TimeoutError) as error:
                logger.debug("the bots were not counted: %s", error)
            else:
                self._bots = Counter((record.status.value, record.mode) for record in records)


class HealthServer:
    """Serves the worker's health; use it as an asynchronous context manager.

    ``/health`` answers 200 as long as the process's event loop works, ``/ready`` 200 or 503 with the reasons.
    No answer names a user or a bot, or holds a secret.

    Args:
        settings: The address; the token is removed from all answers.
        health: The worker's health.
    """

    def __init__(self, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._redactor = Redactor([settings.worker_token.get_secret_value()])
        self._server: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Start to listen; without the default address, as for a second worker on one machine, do not.

        Raises:
            SettingsError: If the operator's ``HEALTH_ADDRESS`` cannot be used.
        """
        address = self._settings.health_address
        if address == "off":
            return self
        host, _, port = address.rpartition(":")
        app = web.Application(client_max_size=1024)
        app.router.add_get("/health", self._get_health)
        app.router.add_get("/ready", self._get_ready)
        app.router.add_get("/metrics", self._get_metrics)
        server = web.AppRunner(app, access_log=None, keepalive_timeout=15, shutdown_timeout=1)
        await server.setup()
        try:
            await web.TCPSite(server, host.strip("[]"), int(port)).start()
        except (OSError, OverflowError) as error:
            await server.cleanup()
            self._do_without(address, error)
            return self
        self._server = server
        logger.info("health: http://%s:%d", host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.cleanup()

    @property
    def port(self) -> int:
        """The port on which it listens; 0 if it does not."""
        return int(self._server.addresses[0][1]) if self._server else 0

    def _do_without(self, address: str, error: OSError | OverflowError) -> None:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number).lower() if number and number > 0 else str(error)
        if "health_address" in self._settings.model_fields_set:
            raise SettingsError(
                f"HEALTH_ADDRESS: cannot listen on {address}: {reason}.",
                hint="Choose another address, or off.",
            ) from error
        why = "another worker of this machine may have it" if number == errno.EADDRINUSE else reason
        logger.warning(
            "nothing is served at %s (%s): set HEALTH_ADDRESS to have /health, /ready and /metrics",
            address,
            why,
        )

    async def _get_health(self, _: web.Request) -> web.Response:
        return self._json(await self._health.report(), 200)

    async def _get_ready(self, _: web.Request) -> web.Response:
        reasons = await self._health.not_ready()
        warnings = await self._health.warnings()
        answer = {"ready": not reasons, "reasons": reasons} | ({"warnings": warnings} if warnings else {})
        return self._json(answer, 503 if reasons else 200)

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=await self._health.metrics_text(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    def _json(self, data: dict[str, Any], status: int) -> web.Response:
        return web.json_response(
            self._redactor.data(data), status=status, headers={"Cache-Control": "no-store"}
        )
