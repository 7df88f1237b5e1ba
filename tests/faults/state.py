"""What the Engine holds of a runner's namespace, and what of it should not be there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot_runner_worker.engine import Engine
from bot_runner_worker.model.identity import (
    BOT_ID,
    CACHE_ROLE,
    INSTANCE,
    LEASE_ROLE,
    NAMESPACE,
    ROLE,
    USER_ID,
)
from bot_runner_worker.testing.waiting import until


@dataclass(frozen=True)
class Bot:
    """A bot's container as the Engine shows it."""

    id: str
    name: str
    state: str
    labels: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class State:
    """All that carries a namespace.

    Args:
        bots: Containers of bots.
        others: What need not be there while nothing is going on: containers of builds and probes, networks
            without a bot, untagged images, volumes but the lease.
    """

    bots: list[Bot]
    others: list[str]

    def running(self) -> list[str]:
        """The ids of running bots."""
        return sorted(bot.labels[BOT_ID] for bot in self.bots if bot.state == "running")

    def complaints(self) -> list[str]:
        """What is wrong with it once everything has settled."""
        counts = Counter((bot.labels[USER_ID], bot.labels[BOT_ID]) for bot in self.bots)
        doubles = [f"{count} containers of {bot}" for bot, count in counts.items() if count > 1]
        unfinished = [
            f"{bot.name} is {bot.state}"
            for bot in self.bots
            if bot.state == "created" or bot.name.endswith(("-next", "-previous"))
        ]
        return doubles + unfinished + self.others


async def look(engine: Engine, namespace: str) -> State:
    """What is there now."""
    wanted = {"filters": {"label": [f"{NAMESPACE}={namespace}"]}, "all": True}
    rows = await engine.json("GET", "containers/json", params=wanted)
    bots, others = [], []
    for row in rows:
        name = row["Names"][0].removeprefix("/")
        if row["Labels"].get(ROLE) == "bot" and BOT_ID in row["Labels"]:
            bots.append(Bot(row["Id"], name, row["State"], row["Labels"]))
        else:
            others.append(f"container {name} ({row['Labels'].get(ROLE)})")
    keys = {(bot.labels[USER_ID], bot.labels[BOT_ID]) for bot in bots}
    made_ahead: dict[str, str] = {}
    for network in await engine.json("GET", "networks", params=wanted):
        labels = network["Labels"]
        if BOT_ID in labels and (labels[USER_ID], labels[BOT_ID]) not in keys:
            others.append(f"network {network['Name']}")
        if INSTANCE in labels:
            made_ahead[network["Name"]] = labels[INSTANCE]
    dangling = {"filters": {"label": [f"{NAMESPACE}={namespace}"], "dangling": ["true"]}}
    untagged = await engine.json("GET", "images/json", params=dangling)
    others += [f"untagged image {image['Id'][7:19]}" for image in untagged]
    volumes = await engine.json("GET", "volumes", params={"filters": wanted["filters"]})
    roles = {volume["Name"]: (volume["Labels"] or {}).get(ROLE) for volume in volumes["Volumes"] or []}
    # What a worker holds for as long as it is there, and what can be fetched again.
    others += [f"volume {name}" for name, role in roles.items() if role not in (LEASE_ROLE, CACHE_ROLE)]
    # What a worker holds ready is left over as soon as that worker is gone, and one at a time is there.
    used = {row["HostConfig"]["NetworkMode"] for row in rows}
    unused = {name: instance for name, instance in made_ahead.items() if name not in used}
    if len(set(unused.values())) > (LEASE_ROLE in roles.values()):
        others += [f"network {name}, made ahead" for name in sorted(unused)]
    return State(bots, others)


async def settled(engine: Engine, namespace: str, *, within: float = 90) -> State:
    """Wait until nothing is left over, and return what is there."""
    state = State([], [])

    async def is_settled() -> bool:
        nonlocal state
        state = await look(engine, namespace)
        return not state.complaints()

    await until(is_settled, within, lambda: f"left over: {state.complaints()}")
    return state


async def builds(engine: Engine, namespace: str) -> bool:
    """Whether a build is going on."""
    return any("(build)" in other for other in (await look(engine, namespace)).others)
