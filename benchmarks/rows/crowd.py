"""Growth: what things take with 10, 50 and 200 bots on one Engine.

With all of them, the first halves of rows 9 (``list_bots``) and 10 (memory of a worker).
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from uuid import uuid4

from benchmarks.bench import Bench
from benchmarks.docker_api import tar_of
from benchmarks.engine_events import NANOSECONDS
from benchmarks.estimates import Spread
from benchmarks.measuring import Sample, in_turn
from benchmarks.memory import available, proportional, resident
from benchmarks.results import Curve, difference, ratio, value
from benchmarks.running import BenchRunner
from benchmarks.stack import stack
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import NAMESPACE, ROLE, USER_ID, BotKey

RUNGS = (10, 50, 200)
QUICK_RUNGS = (10,)

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
    name = "crowd"
    points: dict[str, list[tuple[int, Spread]]] = defaultdict(list)
    rungs = QUICK_RUNGS if bench.plan.quick else RUNGS
    floor = await bench.floor()
    taken: dict[str, list[float]] = {}
    free: list[float] = []
    for rung in rungs:
        async with bench.runner(name) as runner:
            await _gather(bench, runner, rung)
            free.append(available())
            taken = await bench.in_turn(
                {
                    "start": runner.start_and_remove,
                    "create + start by API": floor,
                    "a bot's end, until it is announced": _noticed(bench, runner),
                },
                full=7,
                quick=3,
            )
        async with bench.runner(name, background=False) as quiet:
            taken |= await in_turn(_calls(bench, quiet), rounds=bench.plan.of(20, 10), pause=0.02)
            if (seen := len(quiet.runner.supervisor.last_seen)) < rung:
                raise RuntimeError(f"the reconciliation saw {seen} bots of {rung}")
        for what, samples in taken.items():
            points[what].append((rung, Spread.of(samples)))
        told = ", ".join(f"{what} {Spread.of(samples).median:.4f}" for what, samples in taken.items())
        bench.tell(f"with {rung} bots: {told}")
    for what, along in points.items():
        bench.add_curve(Curve(what, tuple(along)))
    bench.add(
        ratio(
            "list",
            f"list_bots of a tenant among {rungs[-1]} bots",
            "the raw API call",
            taken["list_bots of a tenant"],
            taken["list by API"],
            2.0,
        )
    )
    if len(rungs) > 1:
        each = (free[0] - free[-1]) / (rungs[-1] - rungs[0])
        what = "memory of this machine for each idle bot"
        note = "a Python process that only sleeps, its init, the Engine's shim and the kernel's part"
        bench.add(value("memory.each-bot", what, each, None, note, unit="MB"))
        await _memory(bench, name, rungs[-1])


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
    docker = bench.docker
    labels = {NAMESPACE: runner.namespace, ROLE: "bot", USER_ID: TENANT}
    filters = {"label": [f"{name}={value}" for name, value in labels.items()]}

    def raw_list() -> float:
        began = time.perf_counter()
        docker.json("GET", "/containers/json", all="1", filters=filters)
        return time.perf_counter() - began

    async def by_hand() -> float:
        return await bench.by_hand(raw_list)

    async def reconcile() -> float:
        began = time.perf_counter()
        await runner.runner.supervisor.check()
        return time.perf_counter() - began

    return {
        "list_bots of a tenant": lambda: runner.timed("list_bots", user_id=TENANT),
        "list by API": by_hand,
        "check_status": lambda: runner.timed("check_status", user_id=TENANT, bot_id="bot-0"),
        "reconciliation of all": reconcile,
    }


def _noticed(bench: Bench, runner: BenchRunner) -> Callable[[], Awaitable[float]]:
    """From the death of a bot's process, by the Engine's event, to the announcement that it has ended."""
    ended: dict[BotKey, asyncio.Future[float]] = {}

    async def listen(event: BotEvent) -> None:
        waiting = ended.get(event.bot)
        if event.type is EventType.EXITED and waiting is not None and not waiting.done():
            waiting.set_result(time.time())

    runner.runner.announcer.listen(listen)

    async def sample() -> float:
        bot = BotKey(f"leaver-{uuid4().hex[:8]}", "bot")
        announced: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        ended[bot] = announced
        await runner.start(bot.user_id, bot.bot_id, deployment_mode="simple", code=LEAVER)
        record = await runner.runner.runtime.find(bot)
        assert record is not None
        since = time.time()
        path = f"/containers/{record.id}/archive"
        await bench.by_hand(lambda: bench.docker.call("PUT", path, tar_of({"leave": ""}), path="/app"))
        async with asyncio.timeout(NOTICE_SECONDS):
            heard = await announced
        until = time.time()
        events = await bench.by_hand(
            lambda: bench.docker.events(since, until, container=[record.id], event=["die"])
        )
        del ended[bot]
        await runner.remove(bot.user_id)
        await runner.at_rest()
        died = float(events[0]["timeNano"]) / NANOSECONDS
        return heard - died

    return sample


async def _memory(bench: Bench, name: str, count: int) -> None:
    """A worker's process with all those bots, and one with none; both as they are in production."""
    taken: dict[str, list[float]] = {}
    rss = {}
    for namespace in ("idle", name):
        async with stack(bench, namespace) as running:
            await asyncio.sleep(_SETTLE_SECONDS)
            pid = running.workers[0].pid
            rss[namespace] = resident(pid)
            taken[namespace] = [proportional(pid)]
    bench.add(
        difference(
            "memory.bots",
            f"worker memory (PSS) with {count} bots",
            "itself idle",
            taken[name],
            taken["idle"],
            10,
            f"RSS: {rss[name]:.1f} MB with {count} bots, {rss['idle']:.1f} MB idle",
            unit="MB",
        )
    )
