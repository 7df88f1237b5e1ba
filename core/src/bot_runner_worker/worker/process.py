"""The worker process, put together and run until it is told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

from bot_runner_worker.diagnostics.engine_watch import EngineWatch
from bot_runner_worker.diagnostics.health import Health
from bot_runner_worker.diagnostics.isolation_watch import IsolationWatch
from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.diagnostics.server import HealthServer
from bot_runner_worker.isolation.probe import probe_isolation
from bot_runner_worker.logs import hide_secrets, set_up_logging
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.plugins.output import standard_output_limited
from bot_runner_worker.redaction import Redactor
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.worker.sdk import build_worker, message_of

logger = logging.getLogger(__name__)

AHEAD_AFTER = 10.0
"""Seconds after the worker's start before anything is made ahead: what is to be done now comes first."""


def run_worker(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT; bots go on running.

    Raises:
        OperatorError: If a plugin that must be there cannot be loaded, or ``HEALTH_ADDRESS`` is not free.
    """
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    token = Redactor([settings.worker_token.get_secret_value()])
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        runner = await stack.enter_async_context(Runner(settings, observer=metrics))
        metrics.modes = frozenset(runner.plugins.catalogue.modes())
        engine = EngineWatch(runner.engine)
        worker = build_worker(runner, engine)
        set_up_logging(settings)  # after the SDK, which sets up logging of its own
        stack.enter_context(hide_secrets(token))
        stack.enter_context(standard_output_limited())
        _introduce(runner)
        isolation = _isolation_watch(runner, engine)
        health = Health(runner, engine, isolation, worker, metrics, lambda: _supervision(runner))
        await stack.enter_async_context(HealthServer(settings, health))

        def engine_changed() -> None:
            worker.tell_status()
            if engine.up:
                isolation.again()

        async def tell_orchestrator(event: BotEvent) -> None:
            worker.outbox.put(message_of(event, settings))

        engine.on_change = engine_changed
        runner.announcer.listen(metrics.event_happened)
        runner.announcer.listen(tell_orchestrator)
        await engine.ask()
        work = (engine.run(), isolation.run(), runner.supervisor.run(), runner.watcher.run())
        ahead = (_later(each) for each in (runner.networks_ahead.run, runner.images.prepare))
        stack.push_async_callback(_end, [asyncio.create_task(each) for each in (*work, *ahead)])
        await worker.main()


async def _later(work: Callable[[], Awaitable[None]]) -> None:
    """Do what makes later starts faster, once the tasks that have waited for this worker are served."""
    await asyncio.sleep(AHEAD_AFTER)
    await work()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=5)


def _introduce(runner: Runner) -> None:
    for report in runner.plugins.reports:
        if report.status == "refused":
            logger.warning("plugin %s left out: %s %s", report.name, report.problem, report.hint)
        elif report.warning:
            logger.warning("plugin %s: %s", report.name, report.warning)
    logger.info(
        "worker %s, namespace %s, modes: %s",
        runner.settings.worker_id,
        runner.settings.runner_namespace,
        ", ".join(runner.plugins.catalogue.modes()) or "none",
    )


def _supervision(runner: Runner) -> dict[str, Any]:
    at = runner.supervisor.last_pass_monotonic
    return {
        "last_pass": runner.supervisor.last_pass,
        "seconds_ago": None if at is None else round(monotonic() - at, 1),
    }


def _isolation_watch(runner: Runner, engine: EngineWatch) -> IsolationWatch:
    wanted = runner.settings.isolation_probe == "on"
    return IsolationWatch(
        (lambda: probe_isolation(runner.engine, runner.settings)) if wanted else None, lambda: engine.up
    )
