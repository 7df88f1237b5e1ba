"""Workers that take a task, and the tasks of workers that are gone."""

import asyncio
from collections.abc import Mapping, Sequence
from logging import getLogger
from time import monotonic
from typing import Any

from rxon.constants import JOB_STATUS_RUNNING, JOB_STATUS_WAITING_FOR_WORKER

from .errors import Code, RequestRefused, job_error
from .offers import check_offered, skill_of, takes_tasks
from .storage import PICKED_UP, RELEASED, BotRunnerStorage, instance_of

logger = getLogger(__name__)

_LOOK_AGAIN_SECONDS = 0.2
_RELEASED_PREFIX = "released:"
"""Before the task id of a released job, so that nobody takes it for the task that goes on."""


async def wait_for_taker(
    storage: BotRunnerStorage, task: str, params: Mapping[str, Any], wait_seconds: float
) -> None:
    """Return once a live worker takes this task.

    Args:
        storage: Where workers are registered.
        task: The task's name.
        params: Its params, which decide about the mode and source that a worker must offer.
        wait_seconds: Seconds to wait while no live worker with the skill accepts tasks.

    Raises:
        RequestRefused: ``NO_WORKER_AVAILABLE``, or at once what :func:`~.offers.check_offered` says.
    """
    deadline = monotonic() + wait_seconds
    while True:
        live = await storage.live_workers()
        if takers := [worker for worker in live if takes_tasks(worker, task)]:
            break
        if monotonic() >= deadline:
            raise RequestRefused(_no_taker(task, live, wait_seconds))
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    check_offered(task, params, takers)


def _no_taker(task: str, live: Sequence[Mapping[str, Any]], waited: float) -> dict[str, Any]:
    statuses = sorted({str(worker.get("status")) for worker in live if skill_of(worker, task)})
    if "not_ready" in statuses:
        return job_error(
            Code.NO_WORKER_AVAILABLE,
            f"No worker is ready: its Docker Engine does not answer (waited {waited:g} s).",
            hint="Bots that run go on running. Try again in a minute; the operator finds out more with "
            "bot-runner-worker doctor.",
            details={"workers": statuses},
            stage="dispatch",
        )
    return job_error(
        Code.NO_WORKER_AVAILABLE,
        f"No worker for {task} is connected (waited {waited:g} s).",
        hint="Start a bot-runner-worker with this orchestrator's URL and token, and try again.",
        stage="dispatch",
    )


class LostTasks:
    """Gives out again the tasks of workers that are gone: sends their jobs to the ``retry`` state.

    Every task may be done twice (a start that finds its bot running says so), so a worker that was only cut
    off for a while does no harm; its late result is ignored.

    Args:
        storage: Where jobs and workers are.
        blueprint: Whose jobs are looked after.
        timeout: Seconds after which a silent worker is gone. After a start of this process, or a failure of
            the storage, all workers get that long to say that they are there.
    """

    def __init__(self, storage: BotRunnerStorage, blueprint: str, timeout: float) -> None:
        self._storage = storage
        self._blueprint = blueprint
        self._timeout = timeout
        self._known_from = monotonic() + timeout
        self._denied_since: dict[str, float] = {}
        self._unqueued: set[str] = set()

    async def release(self) -> int:
        """Check all waiting jobs once.

        Returns:
            Number of released jobs.

        Raises:
            Exception: Whatever the storage raises; all workers then get ``timeout`` again.
        """
        try:
            return await self._look()
        except Exception:
            self._known_from = monotonic() + self._timeout
            raise

    async def _look(self) -> int:
        released = 0
        for job_id in list(self._unqueued):
            await self._queue(job_id)
        workers: dict[Any, Mapping[str, Any]] | None = None
        denied_before, self._denied_since = self._denied_since, {}
        for job_id in await self._storage.watched_jobs():
            state = await self._storage.get_job_state(job_id)
            if not state or not _is_waiting(state, self._blueprint):
                continue
            if workers is None:
                workers = {worker.get("worker_id"): worker for worker in await self._storage.live_workers()}
            worker_id, task_id = state["task_worker_id"], str(state.get("current_task_id"))
            lost = await self._is_lost(state, workers.get(worker_id))
            if denied := lost is None:
                since = self._denied_since[task_id] = denied_before.get(task_id, monotonic())
                lost = monotonic() - since > self._timeout
            if lost and await self._release(job_id, worker_id):
                released += 1
                if denied:
                    # Nothing else counts it down: no result comes, and the worker does not register anew.
                    await self._storage.decrement_worker_load(worker_id)
                logger.warning("Worker %s is not at its task; job %s is given out again.", worker_id, job_id)
        return released

    async def _is_lost(self, state: Mapping[str, Any], worker: Mapping[str, Any] | None) -> bool | None:
        """Whether the job's task is lost; ``None`` if its worker does not seem to have it at the moment."""
        if worker is None:
            return monotonic() > self._known_from
        if worker.get("status") == "offline":
            return True
        task_id = state.get("current_task_id")
        taken = state.get(PICKED_UP) or {}
        if taken.get("task") != task_id:
            # It waits in the worker's queue, from which a worker that is not ready takes nothing.
            if not takes_tasks(worker, str((state.get("current_task_info") or {}).get("type"))):
                return True
            # Unless it was taken off the queue by a poll that ended before the pick-up was noted.
            return False if await self._storage.get_worker_queue_length(state["task_worker_id"]) else None
        # Nobody knows which process took it while the worker was not registered.
        if taken.get("instance") and taken["instance"] != instance_of(worker):
            return True
        current = worker.get("current_tasks")
        # The list may be older than the task, and does not hold one whose result is on its way.
        return None if isinstance(current, list) and task_id not in current else False

    async def _release(self, job_id: str, worker_id: str) -> bool:
        released = False

        def to_retry(state: dict[str, Any]) -> dict[str, Any]:
            nonlocal released
            released = _is_waiting(state, self._blueprint) and state["task_worker_id"] == worker_id
            if not released:
                return state
            self._unqueued.add(job_id)
            history = (state.get("state_history") or {}) | {
                "error": job_error(
                    Code.WORKER_LOST,
                    "The worker went away in the middle of the task.",
                    hint="It may have got somewhere: check with status, then send the request again.",
                    stage="task",
                )
            }
            # The old task id is changed, so that a late result of the lost worker is recognised as stale.
            return state | {
                "state_history": history,
                RELEASED: [*(state.get(RELEASED) or []), state.get("current_task_id")],
                "status": JOB_STATUS_RUNNING,
                "current_state": "retry",
                "current_task_id": f"{_RELEASED_PREFIX}{state.get('current_task_id')}",
                "task_worker_id": None,
                "task_picked_up_at": None,
            }

        await self._storage.update_job_state_atomic(job_id, to_retry)
        if released:
            await self._queue(job_id)
        return released

    async def _queue(self, job_id: str) -> None:
        """Queue a released job; after a failure of the storage, the next check does it again."""
        state = await self._storage.get_job_state(job_id) or {}
        is_released = str(state.get("current_task_id")).startswith(_RELEASED_PREFIX)
        if is_released and state.get("status") == JOB_STATUS_RUNNING:
            await self._storage.remove_job_from_watch(job_id)
            await self._storage.enqueue_job(job_id)
        self._unqueued.discard(job_id)


def _is_waiting(state: Mapping[str, Any], blueprint: str) -> bool:
    return bool(
        state.get("blueprint_name") == blueprint
        and state.get("status") == JOB_STATUS_WAITING_FOR_WORKER
        and state.get("task_worker_id")
    )
