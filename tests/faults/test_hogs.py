"""A fork bomb, a memory hog, a log flood and fillers of the disk beside ten quiet bots, who always answer."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.faults.bots import (
    ANSWERING_BOT,
    DISK_FILLER,
    FORK_BOMB,
    HIDING_FILLER,
    LOG_FLOOD,
    MEMORY_HOG,
    simple,
)
from tests.faults.running import WORKER_ENV, History, PatientClient, running_stack, under_way
from tests.faults.state import settled

from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import SCALE, stays, until

pytestmark = pytest.mark.faults

QUIET = [f"quiet-{number}" for number in range(10)]
PIDS = 64
LIMITS = {
    "CONTAINER_MEMORY_LIMIT": "64m",
    "CONTAINER_DISK_LIMIT": "64m",
    "CONTAINER_PIDS_LIMIT": str(PIDS),
    "CRASH_LIMIT": "2",
}

PATIENCE = 30 * SCALE
"""Seconds after which a quiet bot is silent, on a machine of two cores that runs more than this test."""


@dataclass
class Quiet:
    """The quiet bots, asked again and again.

    Args:
        addresses: Where they are.
        answers: How often each one answered.
        silences: Those that did not, in words.
    """

    addresses: dict[str, str]
    answers: dict[str, int] = field(default_factory=dict)
    silences: list[str] = field(default_factory=list)

    async def ask_on(self) -> None:
        """Ask all of them until cancelled."""
        await asyncio.gather(*(self._ask_on(bot, address) for bot, address in self.addresses.items()))

    async def _ask_on(self, bot: str, address: str) -> None:
        while True:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection(address, 8080)
                    assert await reader.read() == b"here"
                    writer.close()
                self.answers[bot] = self.answers.get(bot, 0) + 1
            except (OSError, AssertionError) as error:  # a TimeoutError is an OSError
                self.silences.append(f"{bot}: {error!r} after {time.monotonic() - begun:.1f} s")
            await asyncio.sleep(0.2)


@dataclass
class Scene:
    """What the hogs' tests need."""

    engine: Engine
    client: PatientClient
    history: History


async def _ended(scene: Scene, bot_id: str, status: str) -> dict[str, Any]:
    """Wait for a status and return the whole report."""

    report: dict[str, Any] = {}

    async def has_it() -> bool:
        nonlocal report
        report = await scene.client.result("status", bot_id=bot_id)
        return bool(report.get("status") == status)

    await until(has_it, 180, lambda: f"{bot_id} is {status}: {report}")
    return report


async def fork_bomb(scene: Scene) -> None:
    """It burns its own half of a core, within its limit, until somebody stops it."""
    started = await scene.client.starts("fork-bomb", **simple(FORK_BOMB))

    async def processes() -> int:
        params = {"stream": False, "one-shot": True}
        stats = await scene.engine.json("GET", f"containers/{started['container_id']}/stats", params=params)
        return int(stats["pids_stats"].get("current", 0))

    async def keeps_its_limit() -> bool:
        return await processes() <= PIDS

    async def is_full() -> bool:
        assert await keeps_its_limit()
        return await processes() == PIDS

    await until(is_full, 90, "all processes that it may have")
    await stays(keeps_its_limit, 5)
    assert (await scene.client.result("stop", bot_id="fork-bomb")).get("status") == "stopped"
    assert (await scene.client.result("status", bot_id="fork-bomb"))["status"] == "stopped"


async def memory_hog(scene: Scene) -> None:
    """It is given up as crashed, and said to have run out of memory."""
    await scene.client.starts("memory-hog", **simple(MEMORY_HOG))
    report = await _ended(scene, "memory-hog", "crashed")
    assert report["oom_killed"] is True
    assert report["hint"]
    told = await scene.history.has("memory-hog", "bot_crashed")
    assert (told["oom_killed"], told["reason"]) == (True, "out_of_memory")


async def log_flood(scene: Scene) -> None:
    """It is stopped with that reason."""
    await scene.client.starts("log-flood", **simple(LOG_FLOOD))
    await _ended(scene, "log-flood", "stopped")
    assert (await scene.history.has("log-flood", "bot_stopped"))["reason"] == "log_flood"


async def disk_filler(scene: Scene) -> None:
    """It is stopped with that reason."""
    await scene.client.starts("disk-filler", **simple(DISK_FILLER))
    await _ended(scene, "disk-filler", "stopped")
    assert (await scene.history.has("disk-filler", "bot_stopped"))["reason"] == "disk_limit"


async def hiding_filler(scene: Scene) -> None:
    """Its files are deleted while they are open: it is stopped with the same reason."""
    await scene.client.starts("hiding-filler", **simple(HIDING_FILLER))
    await _ended(scene, "hiding-filler", "stopped")
    told = await scene.history.has("hiding-filler", "bot_stopped")
    assert told["reason"] == "disk_limit"
    assert told["hidden_bytes"] > told["limit_bytes"] == 64 * 1024 * 1024


HOGS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    each.__name__.replace("_", " "): each
    for each in (fork_bomb, memory_hog, log_flood, disk_filler, hiding_filler)
}


@pytest.fixture(scope="module")
async def scene(engine: Engine) -> AsyncIterator[tuple[Quiet, Mapping[str, Awaitable[None]]]]:
    """Ten quiet bots, and the hogs beside them, all at the same time."""
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bot-runner-faults-")))
        history = History(folder / "history.sqlite")
        stack, client = await exits.enter_async_context(
            running_stack(worker_env={**WORKER_ENV, **LIMITS}, orchestrator_env=history.environment)
        )

        async def address_of(bot_id: str) -> str:
            started = await client.starts(bot_id, **simple(ANSWERING_BOT))
            found = await engine.json("GET", f"containers/{started['container_id']}/json")
            (network,) = found["NetworkSettings"]["Networks"].values()
            address = str(network["IPAddress"])
            await until(lambda: _answers(address), 60, bot_id)
            return address

        addresses = await asyncio.gather(*map(address_of, QUIET))
        quiet = Quiet(dict(zip(QUIET, addresses, strict=True)))
        hogs = {name: hog(Scene(engine, client, history)) for name, hog in HOGS.items()}
        async with under_way({"asking": quiet.ask_on()}), under_way(hogs) as tasks:  # type: ignore[arg-type]
            yield quiet, tasks
        assert (await settled(engine, stack.namespace)).running() == sorted(QUIET)


async def _answers(address: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, 8080)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("name", HOGS)
async def test_a_hog_is_dealt_with(name: str, scene: tuple[Quiet, Mapping[str, Awaitable[None]]]) -> None:
    await scene[1][name]


async def test_the_quiet_bots_answered_throughout(
    scene: tuple[Quiet, Mapping[str, Awaitable[None]]],
) -> None:
    quiet, hogs = scene
    await asyncio.gather(*hogs.values(), return_exceptions=True)
    assert quiet.silences == []
    assert sorted(quiet.answers) == sorted(QUIET)
