"""Somebody uses ``docker`` on what is the runner's: the status tells the truth, bots come back if they can.

All of it goes on at the same time, each on a bot of its own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.faults.bots import project, simple
from tests.faults.running import PatientClient, docker, running_stack, under_way
from tests.faults.state import look, settled

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine, EngineError
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.faults


@dataclass
class Victim:
    """A bot to which something happens."""

    engine: Engine
    stack: EmbeddedStack
    client: PatientClient
    bot_id: str
    started: dict[str, Any]

    @property
    def container(self) -> str:
        """The id of its container."""
        return str(self.started["container_id"])

    async def inspect(self) -> dict[str, Any]:
        """Its container."""
        found: dict[str, Any] = await self.engine.json("GET", f"containers/{self.container}/json")
        return found

    async def network(self) -> str:
        """The name of its network."""
        (name,) = (await self.inspect())["NetworkSettings"]["Networks"]
        return str(name)

    async def status(self) -> dict[str, Any]:
        """What the client is told."""
        return await self.client.result("status", bot_id=self.bot_id)

    async def is_back(self) -> bool:
        """Whether its container runs, in a network that exists, and the status says so."""
        found = await self.inspect()
        state, networks = found["State"], found["NetworkSettings"]["Networks"]
        return (
            (state["Running"], state["Paused"]) == (True, False)
            and [bool(network["IPAddress"]) for network in networks.values()] == [True]
            and (await self.status())["status"] == "running"
        )

    async def comes_back(self) -> None:
        """Wait for that; it is there once."""
        await until(self.is_back, 90, lambda: f"{self.bot_id} is back\n{self.stack.log_tail(20)}")
        state = await look(self.engine, self.stack.namespace)
        assert [bot.id for bot in state.bots if bot.labels[BOT_ID] == self.bot_id] == [self.container]

    async def starts_again(self, **params: Any) -> None:
        """The same request as at first makes it run again."""
        self.started = await self.client.starts(self.bot_id, **params)
        await self.comes_back()


Deed = Callable[[Victim], Awaitable[None]]
DEEDS: dict[str, Deed] = {}


def deed(function: Deed) -> Deed:
    """One of the things that happen."""
    DEEDS[function.__name__.replace("_", " ").strip()] = function
    return function


@deed
async def container_removed(bot: Victim) -> None:
    """All that was known of it is gone with its labels."""
    await docker("rm", "-f", bot.container)
    assert (await bot.status())["exists"] is False
    listed = (await bot.client.result("list"))["bots"]
    assert bot.bot_id not in [each["bot_id"] for each in listed]
    await bot.starts_again(**simple())


@deed
async def container_stopped(bot: Victim) -> None:
    await docker("stop", "-t", "1", bot.container)
    await bot.comes_back()


@deed
async def container_killed(bot: Victim) -> None:
    await docker("kill", bot.container)
    await bot.comes_back()


@deed
async def container_paused(bot: Victim) -> None:
    await docker("pause", bot.container)
    await bot.comes_back()


@deed
async def container_renamed(bot: Victim) -> None:
    await docker("rename", bot.container, f"{bot.stack.namespace}-renamed")
    assert (await bot.status())["status"] == "running"
    again = await bot.client.result("start", bot_id=bot.bot_id, **simple())
    assert (again.get("status"), again.get("container_id")) == ("already_running", bot.container)
    await bot.comes_back()
    assert (await bot.client.result("stop", bot_id=bot.bot_id))["status"] == "stopped"
    assert (await bot.inspect())["State"]["Running"] is False


@deed
async def network_taken_from_a_running_bot(bot: Victim) -> None:
    network = await bot.network()
    await docker("network", "disconnect", "--force", network, bot.container)
    await docker("network", "rm", network)
    await bot.comes_back()


@deed
async def network_taken_from_a_stopped_bot(bot: Victim) -> None:
    network = await bot.network()
    assert (await bot.client.result("stop", bot_id=bot.bot_id))["status"] == "stopped"
    await docker("network", "rm", network)
    assert (await bot.status())["status"] == "stopped"
    assert "error" not in await bot.client.result("restart", bot_id=bot.bot_id)
    await bot.comes_back()


@deed
async def container_stopped_and_its_network_removed(bot: Victim) -> None:
    network = await bot.network()
    await docker("kill", bot.container)
    # It may be faster than we are.
    await docker("network", "disconnect", "--force", network, bot.container)
    await docker("network", "rm", network)
    await bot.comes_back()


@deed
async def image_of_a_running_bot_untagged(bot: Victim) -> None:
    image = (await bot.inspect())["Image"]
    tags = (await bot.engine.json("GET", f"images/{image}/json"))["RepoTags"]
    for tag in tags:
        await docker("rmi", "--force", tag)
    assert (await bot.status())["status"] == "running"
    await bot.client.result("restart", bot_id=bot.bot_id)
    await bot.comes_back()
    await bot.client.result("stop", bot_id=bot.bot_id)
    await bot.starts_again(**project(bot.bot_id))


@deed
async def image_of_a_stopped_bot_removed(bot: Victim) -> None:
    await bot.client.result("stop", bot_id=bot.bot_id)
    await docker("rmi", "--force", (await bot.inspect())["Image"])
    assert (await bot.status())["status"] == "stopped"
    await bot.client.result("restart", bot_id=bot.bot_id)
    await bot.comes_back()
    await bot.client.result("stop", bot_id=bot.bot_id)
    await bot.starts_again(**project(bot.bot_id))


@deed
async def volumes_of_the_workers_removed(bot: Victim) -> None:
    """The lease: whoever cleans up volumes without a container takes those, too."""
    label = f"label={NAMESPACE}={bot.stack.namespace}"
    for volume in (await docker("volume", "ls", "--quiet", "--filter", label)).split():
        try:
            await bot.engine.json("DELETE", f"volumes/{volume}", params={"force": True})
        except EngineError as error:
            if not error.conflict:  # a container uses it, as no clean-up would take it from under
                raise
    assert (await bot.client.result("stop", bot_id=bot.bot_id))["status"] == "stopped"
    await bot.starts_again(**simple())


@pytest.fixture(scope="module")
async def deeds(engine: Engine) -> AsyncIterator[Mapping[str, Awaitable[None]]]:
    """All that happens, under way."""
    async with running_stack() as (stack, client):

        async def happen(name: str) -> None:
            bot_id = name.replace(" ", "-")
            params = project(bot_id) if name.startswith("image") else simple()
            started = await client.starts(bot_id, **params)
            await DEEDS[name](Victim(engine, stack, client, bot_id, started))

        async with under_way({name: happen(name) for name in DEEDS}) as tasks:
            yield tasks
        await settled(engine, stack.namespace)


@pytest.mark.parametrize("name", DEEDS)
async def test_the_runner_puts_up_with_it(name: str, deeds: Mapping[str, Awaitable[None]]) -> None:
    await deeds[name]
