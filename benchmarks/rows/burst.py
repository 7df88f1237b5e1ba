"""Row 6: many starts at once, and whether a tenant who starts many keeps the next one waiting."""

import asyncio
import subprocess
import time
from functools import partial
from statistics import median
from uuid import uuid4

from benchmarks import by_hand
from benchmarks.bench import Bench
from benchmarks.results import speed_up, value
from benchmarks.running import BenchRunner, new_code

AT_ONCE = 16
MANY = 12
"""Starts of one tenant, when another one posts a single one."""

LONGEST_START = 3.0


async def measure(bench: Bench) -> None:
    """Sixteen tenants start a bot at once, by the runner and by as many processes of ``docker run -d``.

    The samples are the time until the last of them runs. ``docker run`` takes an image that holds the
    bot, and one bridge for all; the runner puts its code into the base image, and gives each a network.
    """
    image = await bench.plain_image()
    slowest: list[float] = []
    lone: list[float] = []
    crowd: list[float] = []

    async def by_command() -> float:
        began = time.perf_counter()
        try:
            await asyncio.gather(*(_docker_run(bench.network, image) for _ in range(AT_ONCE)))
            return time.perf_counter() - began
        finally:
            await _remove_by_hand(bench, image)

    async def by_api() -> float:
        config = by_hand.container(bench.base, bench.network)
        began = time.perf_counter()

        def start() -> str:
            return by_hand.put_and_start(bench.docker, config, new_code())

        made = await asyncio.gather(*(bench.by_hand(start) for _ in range(AT_ONCE)))
        took = time.perf_counter() - began
        await asyncio.gather(*(bench.by_hand(partial(bench.docker.remove, each)) for each in made))
        return took

    async with bench.runner("burst") as runner:

        async def by_runner() -> float:
            tenants = [f"tenant-{uuid4().hex[:8]}" for _ in range(AT_ONCE)]
            began = time.perf_counter()
            each = await asyncio.gather(*(runner.start(tenant) for tenant in tenants))
            took = time.perf_counter() - began
            slowest.append(max(each))
            await _remove(runner, [(tenant, "bot") for tenant in tenants])
            return took

        async def unfair() -> float:
            bots = [("crowd", f"bot-{number}") for number in range(MANY)]
            posted = [asyncio.create_task(runner.start(user, bot)) for user, bot in bots]
            await asyncio.sleep(0.05)
            alone = await runner.start("lone")
            lone.append(alone)
            crowd.extend(await asyncio.gather(*posted))
            await _remove(runner, [*bots, ("lone", "bot")])
            return alone

        taken = await bench.in_turn(
            {"docker run": by_command, "runner": by_runner, "least": by_api}, full=5, quick=2, warm_ups=0
        )
        if not bench.plan.quick:
            await bench.in_turn({"lone start": unfair}, full=3, quick=1, warm_ups=0)
    bench.add(
        speed_up(
            "burst.throughput",
            f"{AT_ONCE} starts at once",
            f"docker run -d x {AT_ONCE}",
            taken["runner"],
            taken["docker run"],
            0.9,
            f"starts in a second: {AT_ONCE / median(taken['runner']):.1f} by the runner, "
            f"{AT_ONCE / median(taken['docker run']):.1f} by docker run",
            "the bound, measured in between: create + put the code in + start by API, without all that the "
            f"runner does besides, reaches {median(taken['docker run']) / median(taken['least']):.2f}",
        )
    )
    bench.add(
        value(
            "burst.slowest",
            f"{AT_ONCE} starts at once: the slowest of any round",
            max(slowest),
            LONGEST_START,
            f"docker run x {AT_ONCE}, of which each takes nearly as long as all: "
            f"median {median(taken['docker run']):.2f} s, slowest {max(taken['docker run']):.2f} s",
            unit="s",
        )
    )
    if lone:
        note = f"median of the tenant's {MANY} starts: {median(crowd):.2f} s, slowest {max(crowd):.2f} s"
        what = f"one start, posted right after another tenant's {MANY}"
        bench.add(value("burst.fairness", what, median(lone), None, note, unit="s"))


async def _docker_run(network: str, image: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("docker", "run", "-d", *by_hand.run_options(network), image),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        # What it has begun to start is removed afterwards.
        await process.wait()
        raise
    if process.returncode:
        raise RuntimeError(f"docker run: {errors.decode(errors='replace').strip()}")


async def _remove_by_hand(bench: Bench, image: str) -> None:
    def made() -> list[str]:
        rows = bench.docker.json("GET", "/containers/json", all="1", filters={"ancestor": [image]})
        return [row["Id"] for row in rows]

    containers = await bench.by_hand(made)
    await asyncio.gather(*(bench.by_hand(partial(bench.docker.remove, each)) for each in containers))


async def _remove(runner: BenchRunner, bots: list[tuple[str, str]]) -> None:
    await asyncio.gather(*(runner.remove(user, bot) for user, bot in bots))
    await runner.at_rest()
