"""Row 3: start of a bot whose requirements were never seen."""

import itertools
from uuid import uuid4

from benchmarks import by_hand
from benchmarks.bench import REQUIREMENT, Bench
from benchmarks.leftovers import REPOSITORY
from benchmarks.results import speed_up
from benchmarks.running import new_code

_numbers = itertools.count(1)


def new_requirement() -> str:
    """A requirement that was never seen, and comes to the same packages as any other.

    It leaves out a version that was never published. So no image fits it and no layer is cached, by any key
    that is made of the requirements' text, while what is downloaded and installed is the same.
    """
    return f"{REQUIREMENT},!=3.0.0.dev{next(_numbers)}"


async def measure(bench: Bench) -> None:
    """The runner with its cache of wheels warm and cold, and the documented build with pip.

    The documented build keeps no cache of pip's, as in the documents and in most Dockerfiles. Cold is a
    namespace that has never installed anything: what is cached for others is not for it.
    """

    async def documented() -> float:
        tag = f"{REPOSITORY}/requirements:{uuid4().hex[:8]}"
        files = by_hand.documented_files(bench.base, new_requirement(), new_code())
        config = by_hand.container(tag, bench.network)
        return await bench.by_hand(lambda: by_hand.build_and_run(bench.docker, tag, files, config))

    async def cold() -> float:
        async with bench.runner(f"cold-{uuid4().hex[:6]}") as fresh:
            # As a worker's process does at its start.
            await fresh.runner.images.prepare()
            took = await fresh.start("tenant", requirements=[new_requirement()])
            await fresh.runner.runtime.remove_all()
            return took

    async with bench.runner("warm") as runner:
        await runner.runner.images.prepare()

        async def warm() -> float:
            return await runner.start_and_remove(requirements=[new_requirement()])

        taken = await bench.in_turn({"documented": documented, "warm": warm, "cold": cold}, full=5, quick=2)
    against = "documented build with pip + run"
    for kind, state in (("warm", "wheels cached"), ("cold", "no wheel cached")):
        bench.add(
            speed_up(
                f"requirements.{kind}",
                f"start, new requirements (aiogram), {state}",
                against,
                taken[kind],
                taken["documented"],
                4.0,
            )
        )
