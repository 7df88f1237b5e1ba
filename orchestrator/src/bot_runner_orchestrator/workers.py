"""Finding workers for a task, and the tasks of workers that are gone."""

import asyncio
from collections.abc import Mapping
from logging import getLogger
from time import monotonic
from typing import Any

from rxon.constants import JOB_STATUS_RUNNING, JOB_STATUS_WAITING_FOR_WORKER

from .errors import Code, RequestRefused, job_error
from .offers import check_offered, takes_tasks
from .storage import BotRunnerStorage

logger = getLogger(__name__)

_LOOK_AGAIN_SECONDS = 0.2


async def wait_for_taker(
    storage: BotRunnerStorage, task: str, params: Mapping[str, Any], wait_seconds: float
) -> None:
    """Return once a live worker takes this task.

    Args:
        storage: Where workers are registered.
        task: The task's name.
        params: Its params, which decide about the mode and source that a worker must offer.
        wait_seconds: How long to wait if there is no worker for this kind of task at all.

    Raises:
        RequestRefused: ``NO_WORKER_AVAILABLE``, or at once what :func:`~.offers.check_offered` says.
    """
    deadline = monotonic() + wait_seconds
    while not (takers := [w for w in await storage.live_workers() if takes_tasks(w, task)]):
        if monotonic() >= deadline:
            raise RequestRefused(
                job_error(
                    Code.NO_WORKER_AVAILABLE,
                    f"No worker for {task} is connected (waited {wait_seconds:g} s).",
                    hint="Start a bot-runner-worker with this orchestrator's URL and token, and try again.",
                    stage="dispatch",
                )
            )
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    check_offered(task, params, takers)


async def release_tasks_of_lost_workers(storage: BotRunnerStorage, blueprint: str) -> int:
    """Send jobs whose worker has gone to the blueprint's ``retry`` state.

    Every task may be done twice (a start that finds its bot running says so), so a worker that was only cut
    off for a while does no harm; its late result is ignored.

    Returns:
        How many jobs were released.
    """
    released = 0
    live: set[Any] | None = None
    for job_id in await storage.watched_jobs():
        state = await storage.get_job_state(job_id)
        if not state or not _is_waiting(state, blueprint):
            continue
        if live is None:
            live = {worker.get("worker_id") for worker in await storage.live_workers()}
        if state["task_worker_id"] in live:
            continue
        if await _release(storage, job_id, state["task_worker_id"], blueprint):
            released += 1
            logger.warning("Worker %s is gone; job %s is given out again.", state["task_worker_id"], job_id)
    return released


async def _release(storage: BotRunnerStorage, job_id: str, worker_id: str, blueprint: str) -> bool:
    released = False

    def to_retry(state: dict[str, Any]) -> dict[str, Any]:
        nonlocal released
        released = _is_waiting(state, blueprint) and state["task_worker_id"] == worker_id
        if released:
            state["state_history"] = (state.get("state_history") or {}) | {
                "error": job_error(
                    Code.WORKER_LOST,
                    "The worker went away in the middle of the task.",
                    hint="It may have got somewhere: check with status, then send the request again.",
                    stage="task",
                )
            }
            # The old task id is void, so that a late result of the lost worker is recognised as stale.
            state |= {
                "status": JOB_STATUS_RUNNING,
                "current_state": "retry",
                "current_task_id": f"released:{state.get('current_task_id')}",
                "task_worker_id": None,
                "task_picked_up_at": None,
            }
        return state

    await storage.update_job_state_atomic(job_id, to_retry)
    if released:
        await storage.remove_job_from_watch(job_id)
        await storage.enqueue_job(job_id)
    return released


def _is_waiting(state: Mapping[str, Any], blueprint: str) -> bool:
    return bool(
        state.get("blueprint_name") == blueprint
        and state.get("status") == JOB_STATUS_WAITING_FOR_WORKER
        and state.get("task_worker_id")
    )
