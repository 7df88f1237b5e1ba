"""The SDK's worker with graceful shutdown, and resilient to outages of orchestrator and Engine."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from avtomatika_worker import Worker
from rxon import Transport
from rxon.exceptions import RxonError, RxonProtocolError

from bot_runner_worker.aio import BackgroundTasks, outlast
from bot_runner_worker.diagnostics.results import CheckResult
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.tasks.outcome import Ending, Outcome
from bot_runner_worker.worker.transport import ENGINE, EventOutbox, OrchestratorTransport

logger = logging.getLogger(__name__)

POLLING_PAUSE = 1.0
"""Seconds between a poll that failed in an unforeseen way and the next."""

NOT_READY = "not_ready"
"""Status of a worker that takes no tasks for now; the SDK's own for that is ``busy``, which the orchestrator
takes for "soon": a task waits in the worker's queue, and so does its client, until it times out."""

DRAINING = "draining"

DELIVERY_SECONDS = 5.0
"""Time to deliver results and events after the tasks; the orchestrator gives out again what is not."""

CLEAN_UP_SECONDS = 8.0
"""Time that tasks get to remove what they made when they are cut short; a container is stopped meanwhile."""


class RunningTasks:
    """Runs tasks, and hands back those that do not end in time."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Outcome]] = set()
        self._handed_back: set[asyncio.Task[Outcome]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run a task.

        However often it is cancelled, the work is cancelled once, and tidies up in peace: the orchestrator
        repeats a cancellation until the task is gone.

        Returns:
            Its outcome; ``WORKER_STOPPING`` if it was cut short by :meth:`hand_back`. The orchestrator gives
            it out again, to another worker or to this one after its return.
        """
        if self._closed:
            work.close()
            return _handed_back()
        task = asyncio.ensure_future(work)
        self._running.add(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await outlast(task)
            # Cancelled by the orchestrator, it is over; by us, it is handed back.
            if task not in self._handed_back:
                raise
            return _handed_back()
        finally:
            self._running.discard(task)
            self._handed_back.discard(task)

    async def hand_back(self) -> None:
        """Cut short what still runs, and wait until it has cleaned up; nothing is run from now on."""
        self._closed = True
        late = set(self._running)
        self._handed_back |= late
        for task in late:
            task.cancel()
        if late:
            logger.warning("handing back %d tasks that did not end in time", len(late))
            await asyncio.wait(late, timeout=CLEAN_UP_SECONDS)


def _nothing() -> None:
    """Nobody listens."""


def _handed_back() -> Outcome:
    error = Unavailable(
        Code.WORKER_STOPPING,
        "The worker was stopped in the middle of the task, of which nothing is left.",
        hint="Send the request again in a minute.",
        stage="task",
    )
    return Outcome(Ending.FAILURE, {"error": error.to_dict()})


class ResilientWorker(Worker):
    """The SDK's worker, resilient to outages, with graceful shutdown.

    What the SDK (avtomatika-worker 1.0b20) lacks:

    - A task that the SDK cannot read ends its polling for good, and nothing says so.
    - It has no way to say that it takes no tasks for a while.
    - When it is told to stop, it stops delivering results before it waits for its tasks.

    Args:
        ready: Whether tasks can be served.
        drain_seconds: Time that tasks get to end when the worker is told to stop.
        **arguments: Those of the SDK's worker.
    """

    def __init__(self, *, ready: Callable[[], bool], drain_seconds: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._ready = ready
        self._drain_seconds = drain_seconds
        self._heartbeats = BackgroundTasks()
        self.draining = False
        self.on_drain: Callable[[], None] = _nothing
        self.tasks = RunningTasks()
        self.transport = OrchestratorTransport(
            sign=lambda message, unsigned: self._sign_payload_if_needed(message, ignore_fields=unsigned),
            base_url=self._config.ORCHESTRATORS[0]["url"],
            worker_id=self._config.WORKER_ID,
            token=self._config.WORKER_TOKEN,
        )
        self.outbox = EventOutbox(self.transport.deliver)

    def check(self) -> CheckResult:
        """What to say about the orchestrator."""
        return self.transport.check()

    def counts(self) -> dict[str, int]:
        """Tasks that are running, and what is not delivered yet, or was lost."""
        return {
            "running": len(self._active_tasks),
            "results_waiting": self._result_queue.qsize(),
            "events_waiting": len(self.outbox),
            "events_dropped": self.outbox.dropped,
        }

    def stop(self, drain_seconds: float | None = None) -> None:
        """Stop as on SIGTERM.

        Args:
            drain_seconds: Time that tasks get to end, if not the usual.
        """
        if drain_seconds is not None:
            self._drain_seconds = drain_seconds
        self._shutdown_event.set()

    def works_on(self, engine: str) -> None:
        """Register with this Engine's id, again if need be: one orchestrator's bots are on one Engine."""
        if engine:
            self._config.EXTRA_CAPABILITIES = {**self._config.EXTRA_CAPABILITIES, ENGINE: engine}

    def tell_status(self) -> None:
        """Let the orchestrator know soon whether tasks are taken."""
        if self._clients:
            self._last_heartbeat_times.clear()  # the SDK would wait for up to 2 s
            self._schedule_heartbeat_debounce()

    def _init_clients(self) -> None:
        self.transport.ssl_context = self._ssl_context
        self._clients = [(self._config.ORCHESTRATORS[0], self.transport)]

    def _get_current_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super()._get_current_state()
        if self.draining or not self._ready():
            # Without available skills there is no poll.
            state |= {"available_skills": [], "hot_skills": []}
            state["status"] = DRAINING if self.draining else NOT_READY
        return state

    def _schedule_heartbeat_debounce(self) -> None:
        # The SDK's own leaves a traceback for each one that an orchestrator that is away does not get.
        for _, client in self._clients:
            self._heartbeats.start(self._send_heartbeat(client))

    async def _send_single_heartbeat(self, client: Transport) -> int:
        if self.transport.registered_engine != self._config.EXTRA_CAPABILITIES.get(ENGINE, ""):
            # The SDK registers again, and takes no such worker for ready before it has.
            raise RxonProtocolError("registration not found: it was without this Engine")
        return int(await super()._send_single_heartbeat(client))

    async def _send_heartbeat(self, client: Transport) -> None:
        with contextlib.suppress(RxonError):  # there will be other heartbeats
            await self._send_single_heartbeat(client)

    async def _start_polling(self) -> None:
        while True:
            try:
                await super()._start_polling()
            except Exception:
                logger.exception("polling for tasks failed; going on in %.0f s", POLLING_PAUSE)
                await asyncio.sleep(POLLING_PAUSE)
            else:
                return  # told to shut down

    async def main(self) -> None:
        """Serve tasks until told to stop."""
        delivering = asyncio.create_task(self.outbox.run())
        try:
            await super().main()
        finally:
            delivering.cancel()

    async def _perform_shutdown_cleanup(
        self,
        comm_task: asyncio.Task[Any],
        polling_task: asyncio.Task[Any],
        token_rotation_task: asyncio.Task[Any] | None,
    ) -> None:
        _restore_signals()
        logger.info(
            "told to stop: %d tasks get %g s to end, bots go on running; a second signal ends it at once",
            len(self._active_tasks),
            self._drain_seconds,
        )
        self.draining = True
        self.on_drain()
        polling_task.cancel()
        heartbeats = asyncio.create_task(self._send_heartbeats())
        await self._wait_for_tasks(self._drain_seconds)
        await self.tasks.hand_back()
        await self._deliver_remaining()
        heartbeats.cancel()
        await super()._perform_shutdown_cleanup(comm_task, polling_task, token_rotation_task)

    async def _send_heartbeats(self) -> None:
        # The SDK's end with its first signal, and the orchestrator takes a silent worker for lost.
        while True:
            self.tell_status()
            await asyncio.sleep(self._config.HEARTBEAT_INTERVAL)

    async def _wait_for_tasks(self, seconds: float) -> None:
        if self._active_tasks:
            await asyncio.wait(list(self._active_tasks.values()), timeout=seconds)

    async def _deliver_remaining(self) -> None:
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                await self._wait_for_tasks(DELIVERY_SECONDS)
                await self._result_queue.join()
                await self.outbox.delivered()
        except TimeoutError:
            logger.warning(
                "not delivered to the orchestrator: %d results, %d events",
                self._result_queue.qsize(),
                len(self.outbox),
            )
            # The SDK would wait for the results once more.
            if self._queue_worker_task:
                self._queue_worker_task.cancel()
            self._result_queue = asyncio.Queue()


def _restore_signals() -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
