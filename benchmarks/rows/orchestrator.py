"""Row 8: from a job that is posted to the bot that runs, through the real orchestrator and worker."""

import time
from datetime import datetime
from uuid import uuid4

from benchmarks.bench import Bench
from benchmarks.results import difference
from benchmarks.running import new_code
from benchmarks.stack import client_of, stack


async def measure(bench: Bench) -> None:
    """A job, and the same task run without orchestrator and SDK, by a runner like the worker's.

    Both are measured until the bot's process runs, by the Engine's record of it (``State.StartedAt``), on the
    clock of this machine: when a client hears of it is a matter of how often it asks.
    """
    docker = bench.docker

    async def began_to_run(container: str) -> float:
        state = (await bench.by_hand(lambda: docker.json("GET", f"/containers/{container}/json")))["State"]
        # Nanoseconds, of which datetime takes the first six digits.
        text = state["StartedAt"].removesuffix("Z")
        return datetime.fromisoformat(f"{text[:26]}+00:00").timestamp()

    async with (
        stack(bench, "jobs") as running,
        client_of(running) as client,
        bench.runner("direct") as runner,
    ):
        await bench.by_hand(lambda: time.sleep(2))  # until the worker's networks lie ready

        async def by_job() -> float:
            bot = f"bot-{uuid4().hex[:8]}"
            began = time.time()
            result = await client.run("start", bot_id=bot, deployment_mode="simple", code=new_code())
            took = await began_to_run(result["container_id"]) - began
            await client.run("stop", bot_id=bot)
            await bench.by_hand(lambda: docker.remove(result["container_id"]))
            return took

        async def directly() -> float:
            user = f"tenant-{uuid4().hex[:8]}"
            began = time.time()
            result = await runner.task(
                "start_bot", user_id=user, bot_id="bot", deployment_mode="simple", code=new_code()
            )
            took = await began_to_run(result["container_id"]) - began
            await runner.remove(user)
            await runner.at_rest()
            return took

        # The pause lets the worker's background work come to rest, as at_rest does for the runner here.
        taken = await bench.in_turn({"job": by_job, "task": directly}, full=12, quick=3, pause=1.0)
    bench.add(
        difference(
            "orchestrator",
            "job posted to bot running, through the orchestrator",
            "the start itself",
            taken["job"],
            taken["task"],
            0.150,
        )
    )
