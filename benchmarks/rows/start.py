"""Rows 1 and 2: start of a bot whose dependencies are known, with code that was never seen."""

from statistics import median
from uuid import uuid4

from benchmarks import by_hand
from benchmarks.bench import REQUIREMENT, Bench
from benchmarks.leftovers import REPOSITORY
from benchmarks.measuring import Sample
from benchmarks.results import ratio, speed_up
from benchmarks.running import BenchRunner, new_code


async def measure(bench: Bench) -> None:
    """The runner with a network that is there and with one for each bot, the floor, the documented way.

    All start a bot with aiogram installed. The floor's image holds the bot already; the documented way builds
    the new code into one whose dependencies are cached.
    """
    image = await bench.ready_image()

    async def documented() -> float:
        tag = f"{REPOSITORY}/documented:{uuid4().hex[:8]}"
        files = by_hand.documented_files(bench.base, REQUIREMENT, new_code())
        config = by_hand.container(tag, bench.network)
        return await bench.by_hand(lambda: by_hand.build_and_run(bench.docker, tag, files, config))

    async def least() -> float:
        config = by_hand.container(image, bench.network)
        return await bench.by_hand(lambda: by_hand.put_start_and_remove(bench.docker, config, new_code()))

    async with (
        bench.runner("start-shared", network_mode="shared") as shared,
        bench.runner("start-own") as own,
    ):

        def start(runner: BenchRunner) -> Sample:
            return lambda: runner.start_and_remove(requirements=[REQUIREMENT])

        taken = await bench.in_turn(
            {
                "floor": await bench.floor(),
                "shared network": start(shared),
                "own network": start(own),
                "documented": documented,
                "least": least,
            },
            full=20,
            quick=5,
        )
    floor = "create + start by API (floor)"
    one = "start, dependencies known, new code"
    by_api = (
        "the bound, measured in between: create + put the code in + start by API, without all that the "
        "runner does besides,"
    )
    bound = f"{by_api} is at {median(taken['least']) / median(taken['floor']):.2f} x"
    there = f"{one}; network there"
    bench.add(ratio("start.known", there, floor, taken["shared network"], taken["floor"], 1.25, bound))
    included = f"{one}; own network included"
    bench.add(ratio("start.own-network", included, floor, taken["own network"], taken["floor"], 1.35, bound))
    bench.add(
        speed_up(
            "start.documented",
            included,
            "documented build (cached) + run",
            taken["own network"],
            taken["documented"],
            1.8,
            f"{by_api} is {median(taken['documented']) / median(taken['least']):.2f} x as fast",
        )
    )
