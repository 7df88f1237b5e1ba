"""Several workers share the work evenly, in a burst as well."""

import asyncio
from typing import Any


async def test_a_burst_is_spread_over_all_workers(
    make_orchestrator: Any, make_worker: Any, storage_settings: dict[str, Any]
) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    workers = [await make_worker(orchestrator, worker_id=f"worker-{n}", go=False) for n in range(3)]
    # Its status is a few seconds old and says that it has something to do.
    await workers[0].heartbeat(status="busy")
    jobs = await asyncio.gather(*(orchestrator.post({"action": "list"}) for _ in range(12)))
    for job_id in jobs:
        await orchestrator.given_out(job_id)
    for worker in workers:
        worker.go()
    for job_id in jobs:
        await orchestrator.end_of(job_id)
    assert [len(worker.tasks) for worker in workers] == [4, 4, 4]
