"""The worker process, put together and run until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from bot_runner_worker.aio import backoff
from bot_runner_worker.diagnostics.health import Health, HealthServer
from bot_runner_worker.diagnostics.metrics import Metrics
from bot_runner_worker.diagnostics.watches import EngineWatch, IsolationWatch
from bot_runner_worker.engine import ENGINE_TROUBLE
from bot_runner_worker.lease import Lease, LeaseError
from bot_runner_worker.logs import hide_secrets, set_up_logging
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.redaction import Redactor
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.worker.resilient_worker import ResilientWorker
from bot_runner_worker.worker.sdk import build_worker, message_of

logger = logging.getLogger(__name__)

AHEAD_AFTER = 10.0
"""Seconds after the worker's start before anything is made ahead: what is to be done now comes first."""


def run_worker(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT; bots go on running.

    Raises:
        OperatorError: If a plugin that must be there cannot be loaded, or ``HEALTH_ADDRESS`` is not free.
        LeaseError: If another worker has taken over from this one.
    """
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    """Set the worker up, stand by until it is the active one, and serve tasks."""
    token = Redactor([settings.worker_token.get_secret_value()])
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        # Released last: until then this worker may still tidy up.
        lease = await stack.enter_async_context(Lease(settings))
        runner = await stack.enter_async_context(Runner(settings, observer=metrics))
        runner.engine.permit = lease.permit
        metrics.modes = frozenset(runner.plugins.catalogue.modes())
        engine = EngineWatch(runner.engine)
        worker = build_worker(runner, engine, lambda: engine.up and lease.held)
        set_up_logging(settings)  # after the SDK, which sets up logging of its own
        stack.enter_context(hide_secrets(token))
        _introduce(runner)
        isolation = IsolationWatch(runner.isolation, lambda: engine.up)
        _connect(runner, engine, isolation, worker, metrics)
        health = Health(runner, engine, isolation, worker, metrics, lease)
        await stack.enter_async_context(HealthServer(settings, health))
        await engine.ask()
        background = [asyncio.create_task(engine.run())]
        stack.push_async_callback(_end, background)

        def begin() -> None:
            work = (isolation.run(), runner.supervisor.run(), runner.limits_watch.run())
            ahead = (_later(each) for each in (runner.networks_ahead.run, runner.images.prepare))
            background.extend(asyncio.create_task(each) for each in (*work, *ahead))
            worker.tell_status()

        def lease_lost() -> None:
            for task in background:
                task.cancel()
            worker.stop(drain_seconds=0)

        lease.on_loss = lease_lost
        if engine.up:
            if not await _acquire(lease, worker):
                return
            begin()
            await worker.main()
        else:
            # It registers as not ready, so that clients hear why.
            acquiring = asyncio.create_task(_acquire_later(lease, worker, begin))
            background.append(acquiring)
            await worker.main()
            if acquiring.done():
                acquiring.result()
        if lease.lost:
            raise LeaseError(
                f"The worker {lease.holder} has taken over: this one stood still for too long.",
                hint="Start this one again, and it will stand by.",
            )


def _connect(
    runner: Runner, engine: EngineWatch, isolation: IsolationWatch, worker: ResilientWorker, metrics: Metrics
) -> None:
    """Let those hear of bots' events and of the Engine's state who pass them on."""

    def engine_changed() -> None:
        worker.works_on(engine.id)
        worker.tell_status()
        if engine.up:
            isolation.again()

    async def tell_orchestrator(event: BotEvent) -> None:
        worker.outbox.put(message_of(event, runner.settings))

    engine.on_change = engine_changed
    worker.on_drain = runner.admission.close
    runner.announcer.listen(metrics.event_happened)
    runner.announcer.listen(tell_orchestrator)


async def _acquire(lease: Lease, worker: ResilientWorker) -> bool:
    """Stand by until the lease is acquired; returns ``False`` if SIGTERM or SIGINT came first."""
    acquiring = asyncio.create_task(lease.acquire())

    def stop() -> None:
        acquiring.cancel()
        worker.stop()  # if it is not yet listening for signals itself

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.wait([acquiring])
    return not acquiring.cancelled() and acquiring.result() is None


async def _acquire_later(lease: Lease, worker: ResilientWorker, begin: Callable[[], None]) -> None:
    """Acquire the lease as soon as the Engine answers; stop if another worker is active then."""
    for pause in backoff(0.5, 4):
        try:
            await lease.acquire(wait=False)
        except ENGINE_TROUBLE:
            await asyncio.sleep(pause)
        except LeaseError:
            worker.stop()
            raise
        else:
            begin()
            return


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
