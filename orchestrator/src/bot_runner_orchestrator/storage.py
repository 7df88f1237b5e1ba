"""Storage of jobs, workers and clients, in front of either of Avtomatika's own.

:class:`BotRunnerStorage` is the choke point that every job passes on its way into a store: it finalizes
jobs that are over (:mod:`.jobs`) and lets nothing change them afterwards. It also answers who a client is
(:mod:`.clients`) and what a worker must show (:mod:`.worker_tokens`), gives tasks to busy workers as well,
and ends long polls at shutdown.
"""

# The calls to super() reach the storage behind the mixin, not the abstract base that mypy sees.
# mypy: disable-error-code="safe-super"

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from time import monotonic, time
from typing import Any

from avtomatika.storage.base import StorageBackend

from .clients import ClientDirectory
from .jobs import LOGS, admit, finalize, is_final
from .offers import takes_tasks
from .worker_tokens import WorkerTokens

PICKED_UP = "picked_up"
"""In a job: the task that a worker fetched last, and which process of that worker."""

RELEASED = "released_tasks"
"""In a job: ids of its tasks that were given out again, and may still be in a worker's queue."""

_MOST_LOGS = 50
"""Results with logs that are kept of one client, who reads each within seconds; each has up to 0.5 MB."""

_CANCELLED = "orchestrator:task_cancel:"
_CANCELLATION_SECONDS = 3600

# Avtomatika mixes two clocks in one list. A machine that has been up for 30 years would be the first to have
# a monotonic clock past this point, where the wall clock has been since 2001.
_WALL_CLOCK_STARTS = 1e9


def instance_of(worker: Mapping[str, Any]) -> str:
    """Which process of a worker this is; a worker that is killed and started again has the same id.

    Args:
        worker: Its registration; empty text if it does not say.
    """
    return str(((worker.get("capabilities") or {}).get("extra") or {}).get("instance") or "")


def engine_of(worker: Mapping[str, Any]) -> str | None:
    """The id of the Docker Engine that the worker's bots run on; ``None`` if it does not say.

    Args:
        worker: Its registration.
    """
    engine = ((worker.get("capabilities") or {}).get("extra") or {}).get("engine")
    return str(engine) if engine else None


class OtherEngine(Exception):
    """A worker is refused since its Docker Engine is not the one of those that are registered."""


def by_monotonic_clock(moment: float) -> float:
    """``moment`` in seconds of the monotonic clock, whichever of the two it was taken from."""
    return moment - time() + monotonic() if moment > _WALL_CLOCK_STARTS else moment


def by_wall_clock(moment: float) -> float:
    """``moment`` in seconds since 1970, whichever of the two clocks it was taken from."""
    return moment if moment > _WALL_CLOCK_STARTS else moment - monotonic() + time()


class _JobIsOver(Exception):
    """Ends an update of a job that is over, before anything is written."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self.state = state


class BotRunnerStorage(StorageBackend):
    """Mixin in front of one of Avtomatika's storages; see the module.

    Args:
        clients: Who may use the API.
        worker_tokens: Workers with a token of their own.
        blueprint: Name of the blueprint whose jobs are finalized.
        retention_seconds: Seconds for which a finalized job is kept.
        logs_retention_seconds: The same for a job that has a bot's log for its result.
    """

    def __init__(
        self,
        *args: Any,
        clients: ClientDirectory,
        worker_tokens: WorkerTokens,
        blueprint: str,
        retention_seconds: float,
        logs_retention_seconds: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._clients = clients
        self._tokens_of_workers = worker_tokens
        self._limited = {
            client.identity: client.monthly_attempts for client in clients if client.monthly_attempts
        }
        self._blueprint = blueprint
        self._retention_seconds = retention_seconds
        self._logs_retention_seconds = min(logs_retention_seconds, retention_seconds)
        self._logs_of_clients: defaultdict[str, deque[str]] = defaultdict(deque)
        self._registering = asyncio.Lock()
        self._polls: set[asyncio.Task[Any]] = set()
        self._closing = False

    # What the two storages do differently.

    async def watched_jobs(self) -> list[str]:
        """Ids of the jobs that have a deadline, which are those that wait for a worker."""
        raise NotImplementedError

    async def increment_key_with_ttl(self, key: str, ttl: int) -> int:
        """Count within a period of ``ttl`` seconds that begins with the first count.

        Avtomatika begins it anew with each count: whoever is never silent for a whole period, as a worker
        with its heartbeats, would reach any rate limit one day and then be shut out for good.
        """
        raise NotImplementedError

    async def _next_task(self, worker_id: str, timeout_seconds: float) -> dict[str, Any] | None:
        """Wait for a task in the worker's own queue; ``None`` when the time is up."""
        raise NotImplementedError

    async def _forget_later(self, job_id: str, seconds: float) -> None:
        """Delete the job after that time."""
        raise NotImplementedError

    # Jobs.

    async def save_job_state(self, job_id: str, state: dict[str, Any]) -> None:
        """Save the job, unless it is already over: checked if it is new, finalized if it is over now."""
        # In place and at once: the caller goes on with the same dictionary.
        admit(state, self._blueprint)
        finalize(state, self._blueprint)
        await self.update_job_state_atomic(job_id, lambda _stored: state)

    async def update_job_state(self, job_id: str, update_data: dict[str, Any]) -> dict[str, Any]:
        """Merge ``update_data`` into the job, unless it is already over."""
        return await self.update_job_state_atomic(job_id, lambda stored: stored | update_data)

    async def update_job_state_atomic(
        self, job_id: str, update_callback: Callable[[dict[str, Any]], Any]
    ) -> dict[str, Any]:
        """Change the job in one step; finalize it if it is over.

        A job that was over already is left unchanged.

        Args:
            job_id: The job.
            update_callback: Maps the stored job (``{}`` if unknown) to the new one; may run several times.

        Returns:
            The job as stored.
        """

        async def unless_over(stored: dict[str, Any]) -> dict[str, Any]:
            if is_final(stored):
                # Written again, even unchanged, it would be kept for another retention time.
                raise _JobIsOver(stored)
            updated = update_callback(stored)
            if isawaitable(updated):
                updated = await updated
            return finalize(updated, self._blueprint)

        try:
            state = await super().update_job_state_atomic(job_id, unless_over)
        except _JobIsOver as over:
            return over.state
        if is_final(state):
            logs = state.get("action") == LOGS
            await self._forget_later(
                job_id, self._logs_retention_seconds if logs else self._retention_seconds
            )
            if logs:
                await self._keep_latest_logs(job_id, state)
        return state

    async def _keep_latest_logs(self, job_id: str, state: Mapping[str, Any]) -> None:
        kept = self._logs_of_clients[str((state.get("client_config") or {}).get("token"))]
        kept.append(job_id)
        if len(kept) > _MOST_LOGS:
            await self._forget_later(kept.popleft(), 0)

    async def dequeue_job(self, block: int | None = None) -> tuple[str, str] | None:
        """The next job to work on."""
        if self._closing:
            # The executor waits for this; a storage that swallows the cancellation would keep it going.
            raise asyncio.CancelledError
        return await super().dequeue_job(block)

    async def set_task_cancellation_flag(self, task_id: str) -> None:
        """Note that nobody waits for the task any more: its job was cancelled, or its time is up."""
        await self.set_str(_CANCELLED + task_id, "1", ttl=_CANCELLATION_SECONDS)

    async def cancelled_among(self, task_ids: Sequence[str]) -> list[str]:
        """Those of the tasks that nobody waits for any more."""
        flags = await self.mget([_CANCELLED + task_id for task_id in task_ids])
        return [task_id for task_id, flag in zip(task_ids, flags, strict=True) if flag]

    # Clients.

    async def get_client_config(self, token: str) -> dict[str, Any] | None:
        """The client that shows ``token``, by its identity and without the token."""
        client = self._clients.find(token)
        return client.as_client_config() if client else None

    async def check_and_decrement_quota(self, token: str) -> bool:
        """Whether the client may make this request; only clients with ``monthly_attempts`` are counted.

        Args:
            token: The client's identity, not its secret.
        """
        return token not in self._limited or await super().check_and_decrement_quota(token)

    async def initialize(self) -> None:
        """Prepare the storage and set the clients' quotas."""
        await super().initialize()
        for identity, attempts in self._limited.items():
            await self.initialize_client_quota(identity, attempts)

    # Workers.

    async def register_worker(self, worker_id: str, worker_info: dict[str, Any], ttl: int) -> None:
        """Register a worker whose messages were checked, unless it is of another Engine than the others.

        Limits hold, and a bot runs once, on one Engine only: no task knows which one its bot is on.

        Raises:
            OtherEngine: The text says why, and what to do.
        """
        async with self._registering:
            engine = engine_of(worker_info)
            for other in await self.live_workers() if engine else []:
                # One that has said farewell is listed until its time is up.
                if other["worker_id"] == worker_id or other.get("status") == "offline":
                    continue
                if (theirs := engine_of(other)) not in (None, engine):
                    raise OtherEngine(
                        f"This worker's bots run on the Docker Engine {engine}, those of the worker "
                        f"{other['worker_id']} on {theirs}, and an orchestrator has workers of one Engine "
                        "only: a bot could run on both. End that worker, or give this one an orchestrator of "
                        "its own."
                    )
            await super().register_worker(worker_id, worker_info, ttl)

    async def find_worker_token(self, worker_id: str) -> str | None:
        """The worker's own token; without one, it shows the token that all share."""
        return self._tokens_of_workers.find(worker_id)

    async def verify_worker_access_token(self, _token: str) -> str | None:
        """No short-lived token is valid: none is issued, see the engine."""
        return None

    async def live_workers(self) -> list[dict[str, Any]]:
        """The registrations of all workers whose heartbeat has not run out."""
        return await self.get_workers(await self.get_active_worker_ids())

    async def find_workers_for_skill(self, skill_name: str) -> list[str]:
        """The workers with the skill, idle or not: the one with the fewest tasks gets the next.

        What a worker says of itself is some seconds old: a burst would go to whoever was idle then.
        """
        return [w["worker_id"] for w in await self.live_workers() if takes_tasks(w, skill_name)]

    async def dequeue_task_for_worker(self, worker_id: str, timeout: int) -> dict[str, Any] | None:  # noqa: ASYNC109
        """The next task from the worker's own queue; ``None`` when the time is up or the process ends.

        Tasks of jobs that are over, or that were given out again, are dropped. Nothing is taken from other
        workers' queues: those workers were chosen for the modes that they offer. What waits in the queue of a
        worker that is gone is given out again by :class:`~.workers.LostTasks`.

        Args:
            worker_id: The worker.
            timeout: Seconds.
        """
        poll = asyncio.current_task()
        assert poll is not None
        deadline = monotonic() + timeout
        self._polls.add(poll)
        try:
            while not self._closing and (remaining := deadline - monotonic()) > 0:
                task = await self._next_task(worker_id, remaining)
                if task is None or await self._note_pick_up(task, worker_id):
                    return task
                await self.decrement_worker_load(worker_id)
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._polls.discard(poll)
        return None

    async def _note_pick_up(self, task: dict[str, Any], worker_id: str) -> bool:
        """Note which process of the worker gets the task; ``False`` if nobody waits for it any more."""
        if not await self.get_job_state(task["job_id"]):
            return False
        instance = instance_of(await self.get_worker_info(worker_id) or {})
        wanted = False

        def note(state: dict[str, Any]) -> dict[str, Any]:
            # Not called for a job that is over.
            nonlocal wanted
            wanted = task["task_id"] not in (state.get(RELEASED) or [])
            return state | {PICKED_UP: {"task": task["task_id"], "instance": instance}} if wanted else state

        await self.update_job_state_atomic(task["job_id"], note)
        return wanted

    async def close_polls(self) -> None:
        """Answer all waiting workers that there is nothing for them, now and from now on."""
        self._closing = True
        polls = list(self._polls)
        for poll in polls:
            poll.cancel()
        # They still have to send their answers; the server's own shutdown gives them the time.
        await asyncio.sleep(0)
