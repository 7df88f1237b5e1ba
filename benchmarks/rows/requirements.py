"""Row 3: start of a bot whose requirements were never seen."""

import itertools
from functools import partial
from statistics import median
from uuid import uuid4

from benchmarks import by_hand
from benchmarks.bench import REQUIREMENT, Bench
from benchmarks.leftovers import REPOSITORY
from benchmarks.measuring import Sample
from benchmarks.results import speed_up
from benchmarks.running import BenchRunner, new_code

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
    namespace that has never installed anything: what is cached for others is not for it. What bounds it is
    measured in between: uv by plain API calls, with an empty cache as well.

    What was made is removed after the last round, not after each sample. An ext4 without a journal passes
    over all inodes that were deleted in the last minute, for each file that is made (``recently_deleted`` in
    the kernel's ``fs/ext4/ialloc.c``): a sample right after thousands of files were removed would measure
    their removal.
    """
    tools = await bench.tools_image()
    tags: list[str] = []
    namespaces: list[str] = []

    def new_tag() -> str:
        tags.append(tag := f"{REPOSITORY}/requirements:{uuid4().hex[:8]}")
        return tag

    async def documented() -> float:
        tag = new_tag()
        files = by_hand.documented_files(bench.base, new_requirement(), new_code())
        config = by_hand.container(tag, bench.network)
        build = partial(by_hand.build_and_run, bench.docker, tag, files, config, leave=True)
        return await bench.by_hand(build)

    async def least() -> float:
        tag, config = new_tag(), by_hand.container(tools, bench.network)
        return await bench.by_hand(
            lambda: by_hand.install_and_run(bench.docker, tag, tools, new_requirement(), config, new_code())
        )

    async def cold() -> float:
        namespaces.append(name := f"cold-{uuid4().hex[:6]}")
        async with bench.runner(name) as fresh:
            return await _installed(fresh)

    async with bench.runner("warm") as runner:

        async def warm() -> float:
            return await _installed(runner)

        contenders: dict[str, Sample] = {
            "documented": documented,
            "warm": warm,
            "cold": cold,
            "least": least,
        }
        taken = await bench.in_turn(contenders, full=5, quick=2)
        await runner.runner.runtime.remove_all()
    for tag in tags:
        await bench.by_hand(partial(by_hand.remove_installed, bench.docker, tag))
    for name in namespaces:
        async with bench.runner(name, background=False) as gone:
            await gone.runner.runtime.remove_all()
    documented_median = median(taken["documented"])
    bound = (
        "the bound, measured in between: uv in a container + commit + create + put the code in + start by "
        f"API, unlimited and with an empty cache, reaches {documented_median / median(taken['least']):.2f}"
    )
    for kind, state, notes in (("warm", "wheels cached", ()), ("cold", "no wheel cached", (bound,))):
        bench.add(
            speed_up(
                f"requirements.{kind}",
                f"start, new requirements (aiogram), {state}",
                "documented build with pip + run",
                taken[kind],
                taken["documented"],
                4.0,
                *notes,
            )
        )


async def _installed(runner: BenchRunner) -> float:
    took = await runner.start(f"tenant-{uuid4().hex[:8]}", requirements=[new_requirement()])
    await runner.at_rest()
    return took
