"""Growth: what things take with 10, 50 and 200 bots on one Engine, and a worker's memory with all of them."""

import asyncio
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from tests.corpus.tars import tar_of

from benchmarks.bench import Bench, BenchRunner
from benchmarks.docker_api import NANOSECONDS
from benchmarks.measuring import Estimate, Sample, Spread
from benchmarks.results import Row, compare
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import NAMESPACE, ROLE, USER_ID, BotKey

RUNGS = (10, 50, 200)
BOTS_OF_A_TENANT = 3
TENANT = "tenant-0"
"""The one whose bots are listed."""

STARTS_AT_ONCE = 4
"""While the crowd gathers: more of them only wait for each other."""

NOTICE_SECONDS = 30.0
_SETTLE_SECONDS = 12.0
"""Until a worker has looked at all bots more than once; it does so every ten seconds."""

LEAVER = """\
import os, time
while not os.path.exists('leave'):
    time.sleep(0.05)
"""
"""A bot that ends when it finds a file. A signal would not do: a bot that somebody else has killed is started
again."""


async def measure(bench: Bench) -> None:
    """At each rung, the runner with its background work, then one without it, whose calls stand alone."""
    rungs = RUNGS[:1] if bench.quick else RUNGS
    floor = await bench.floor()
    taken: dict[str, list[float]] = {}
    free: list[float] = []
    for rung in rungs:
        async with bench.runner("crowd") as runner:
            await _gather(bench, runner, rung)
            free.append(_megabytes(Path("/proc/meminfo"), "MemAvailable"))
            contenders = {
                "start": runner.start_and_remove,
                "create + start by API": floor,
                "a bot's end, until it is announced": _end(bench, runner),
            }
            taken = await bench.in_turn(contenders, full=7, quick=3)
        async with bench.runner("crowd", background=False) as quiet:
            taken |= await bench.in_turn(_calls(bench, quiet), full=20, quick=10, pause=0.02)
            if (seen := len(quiet.runner.supervisor.last_seen)) < rung:
                raise RuntimeError(f"the reconciliation saw {seen} bots of {rung}")
        for what, samples in taken.items():
            bench.results.curves.setdefault(what, {})[rung] = Spread.of(samples)
    row = ("list", f"list_bots of a tenant among {rungs[-1]} bots", "the raw API call")
    bench.add(compare("ratio", *row, taken["list_bots of a tenant"], taken["list by API"], 2.0))
    if len(rungs) > 1:
        each = (free[0] - free[-1]) / (rungs[-1] - rungs[0])
        what = (
            "memory of this machine for each idle bot, with its init, the Engine's shim and the kernel's part"
        )
        bench.add(Row("memory.each-bot", what, "", "value", Estimate(each), unit="MB"))
        what = f"worker memory (PSS) with {rungs[-1]} bots"
        idle, crowd = await _memory(bench, "idle"), await _memory(bench, "crowd")
        bench.add(compare("difference", "memory.bots", what, "itself idle", crowd, idle, 10, unit="MB"))


async def _gather(bench: Bench, runner: BenchRunner, count: int) -> None:
    """Start bots until there are so many."""
    there = {record.bot for record in await runner.runner.runtime.list_bots()}
    wanted = [
        BotKey(f"tenant-{number // BOTS_OF_A_TENANT}", f"bot-{number % BOTS_OF_A_TENANT}")
        for number in range(count)
    ]
    missing = [bot for bot in wanted if bot not in there]
    slots = asyncio.Semaphore(STARTS_AT_ONCE)
    began = time.monotonic()

    async def start(bot: BotKey) -> None:
        async with slots:
            await runner.start(bot.user_id, bot.bot_id)

    await asyncio.gather(*map(start, missing))
    bench.tell(f"{len(missing)} more bots started in {time.monotonic() - began:.1f} s")
    await runner.at_rest()


def _calls(bench: Bench, runner: BenchRunner) -> dict[str, Sample]:
    labels = {NAMESPACE: runner.namespace, ROLE: "bot", USER_ID: TENANT}
    filters = {"label": [f"{name}={value}" for name, value in labels.items()]}

    def raw_list() -> float:
        began = time.perf_counter()
        bench.docker.json("GET", "/containers/json", all="1", filters=filters)
        return time.perf_counter() - began

    async def reconcile() -> float:
        began = time.perf_counter()
        await runner.runner.supervisor.check()
        return time.perf_counter() - began

    return {
        "list_bots of a tenant": lambda: runner.timed("list_bots", user_id=TENANT),
        "list by API": lambda: bench.by_hand(raw_list),
        "reconciliation of all": reconcile,
    }


def _end(bench: Bench, runner: BenchRunner) -> Sample:
    """From the death of a bot's process, by the Engine's event, to the announcement that it has ended."""
    heard: dict[BotKey, asyncio.Future[float]] = {}

    async def listen(event: BotEvent) -> None:
        if event.type is EventType.EXITED and event.bot in heard:
            heard.pop(event.bot).set_result(time.time())

    runner.runner.announcer.listen(listen)

    async def sample() -> float:
        bot = BotKey(f"leaver-{uuid4().hex[:8]}", "bot")
        announced = heard[bot] = asyncio.Future()
        start = {"user_id": bot.user_id, "bot_id": bot.bot_id, "deployment_mode": "simple", "code": LEAVER}
        container = (await runner.task("start_bot", **start))["container_id"]
        since = time.time()
        archive, leave = f"/containers/{container}/archive", tar_of({"leave": ""})
        await bench.by_hand(lambda: bench.docker.call("PUT", archive, leave, path="/app"))
        async with asyncio.timeout(NOTICE_SECONDS):
            at: float = await announced
        read = partial(bench.docker.events, since, time.time(), container=[container], event=["die"])
        [death] = await bench.by_hand(read)
        await runner.remove(bot.user_id)
        await runner.at_rest()
        return at - float(death["timeNano"]) / NANOSECONDS

    return sample


async def _memory(bench: Bench, namespace: str) -> list[float]:
    """The memory of a worker's process in a namespace, what is shared counted by its share."""
    async with bench.stack(namespace) as running:
        await asyncio.sleep(_SETTLE_SECONDS)
        return [_megabytes(Path(f"/proc/{running.workers[0].pid}/smaps_rollup"), "Pss")]


def _megabytes(path: Path, name: str) -> float:
    lines = path.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6
