"""Row 5: how long a bot is away while it is replaced, and whether two ever run."""

import time

from benchmarks import by_hand
from benchmarks.bench import Bench
from benchmarks.engine_events import most_at_once, seconds_without
from benchmarks.results import ratio, value
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE, BotKey

USER = "replacer"


async def measure(bench: Bench) -> None:
    """A replacement by the runner, and ``stop`` and ``start`` of a container.

    Both are measured by the Engine's events, from the death of the old process to the start of the new one:
    a bot that was asked to stop still runs until it is dead. The container is the same one
    before and after, where the runner has another, with the new code.
    """
    docker = bench.docker
    config = by_hand.container(await bench.plain_image(), bench.network)
    container = await bench.by_hand(lambda: docker.create(config))
    await bench.by_hand(lambda: docker.start(container))
    most = 0

    def restart() -> float:
        since = time.time()
        docker.stop(container)
        docker.start(container)
        events = docker.events(since, time.time(), container=[container], event=["die", "start"])
        return seconds_without(events)

    async with bench.runner("replace") as runner:
        await runner.start(USER)

        async def replace() -> float:
            nonlocal most
            record = await runner.runner.runtime.find(BotKey(USER, "bot"))
            assert record is not None
            since = time.time()
            await runner.start(USER, replace=True)
            mine = [f"{NAMESPACE}={runner.namespace}", f"{BOT_ID}=bot"]
            until = time.time()
            events = await bench.by_hand(
                lambda: docker.events(since, until, label=mine, event=["die", "start"])
            )
            most = max(most, most_at_once(events, [record.id]))
            return seconds_without(events)

        async def by_restart() -> float:
            return await bench.by_hand(restart)

        taken = await bench.in_turn({"restart": by_restart, "replace": replace}, full=15, quick=5)
    await bench.by_hand(lambda: docker.remove(container))
    bench.add(
        ratio(
            "replace.gap",
            "replace: time without a running bot",
            "stop + start of the raw container",
            taken["replace"],
            taken["restart"],
            1.3,
        )
    )
    bench.add(value("replace.at-once", "replace: most containers of the bot running at once", most, 1))
