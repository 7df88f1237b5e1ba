"""One run: the Engine, what all rows share, and an end that removes everything in any case."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

from pydantic import SecretStr

from benchmarks import by_hand, leftovers
from benchmarks.docker_api import ADDRESS, Docker
from benchmarks.measuring import Sample, Tell, in_turn
from benchmarks.report.table import row_line
from benchmarks.results import Curve, Results, Row
from benchmarks.running import BenchRunner, in_background, new_code
from bot_runner_worker.images.packages.commands import UV_VERSION
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings

Result = TypeVar("Result")

REQUIREMENT = "aiogram>=3,<4"
"""What most Telegram bots in Python need."""

STOP_GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        quick: Whether few samples must do.
        rounds: Number of samples of each contender, if not each row's own choice.
    """

    quick: bool = False
    rounds: int | None = None

    def of(self, full: int, quick: int) -> int:
        """The number of rounds of a row."""
        return self.rounds or (quick if self.quick else full)


class Bench:
    """What rows need; use it as an asynchronous context manager.

    Args:
        plan: How much is measured.
        base_image: What bots are built on.
        tell: Told of progress.
    """

    def __init__(self, plan: Plan, base_image: str, tell: Tell) -> None:
        self.plan = plan
        self.tell = tell
        self.results = Results()
        self.docker = Docker()
        self.run = uuid4().hex[:8]
        self.base = f"{leftovers.REPOSITORY}/base:{self.run}"
        self.network = f"bot-runner-bench-{self.run}"
        self._base_image = base_image
        self._ready: str | None = None
        self._plain: str | None = None
        self._tools: str | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        folder = tempfile.TemporaryDirectory(prefix="bot-runner-bench-")
        self._exits.callback(folder.cleanup)
        self.folder = Path(folder.name)
        self.tell("removing what an earlier run may have left")
        await self.by_hand(lambda: leftovers.sweep(self.docker))
        self._exits.push_async_callback(self._sweep)
        try:
            await self.by_hand(self._prepare)
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    def _prepare(self) -> None:
        # A new label makes a new id: no layer of an earlier run is ever hit.
        labels = " ".join(f"{name}={self.run}" for name in leftovers.LABELS)
        self.docker.build(self.base, {"Dockerfile": f"FROM {self._base_image}\nLABEL {labels}\n"})
        self.docker.json("POST", "/networks/create", {"Name": self.network, "Labels": leftovers.LABELS})

    async def _sweep(self) -> None:
        self.tell("removing what this run has made")
        left = await self.by_hand(lambda: leftovers.sweep(self.docker))
        self.results.failures += [f"left behind: {each.kind} {each.name}" for each in left]

    def add(self, row: Row) -> None:
        """Note a row."""
        self.results.rows.append(row)
        self.tell(row_line(row))

    def add_curve(self, curve: Curve) -> None:
        """Note a curve."""
        self.results.curves.append(curve)

    async def by_hand(self, work: Callable[[], Result]) -> Result:
        """Do something with plain calls in a thread, so that the runner's background work goes on.

        A thread cannot be cancelled: its end is waited for in any case, or it would still make things while
        the rest is being removed.
        """
        thread = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            await asyncio.wait([thread])
            raise

    async def in_turn(
        self, contenders: dict[str, Sample], full: int, quick: int, *, warm_ups: int = 1, pause: float = 0.2
    ) -> dict[str, list[float]]:
        """See :func:`benchmarks.measuring.in_turn`."""
        rounds = self.plan.of(full, quick)
        return await in_turn(contenders, rounds=rounds, warm_ups=warm_ups, pause=pause, tell=self.tell)

    def settings(self, name: str, **settings: Any) -> Settings:
        """A runner's settings, in a namespace of this run."""
        namespace = f"{leftovers.NAMESPACE_PREFIX}{self.run}-{name}"
        defaults = {
            "worker_token": SecretStr("unused"),
            "docker_host": ADDRESS,
            "base_image": self.base,
            "docker_network": f"{namespace}-net",
            "stop_grace_seconds": STOP_GRACE_SECONDS,
            "max_bots_per_user": 100,
        }
        return Settings.load(runner_namespace=namespace, **{**defaults, **settings})

    @asynccontextmanager
    async def runner(
        self, name: str, *, background: bool = True, **settings: Any
    ) -> AsyncIterator[BenchRunner]:
        """A runner as a worker has it, at rest; what it makes is removed at the end of the run at the latest.

        Args:
            name: Tells its namespace from others of this run.
            background: Whether its background work is going on.
            settings: Other than the defaults.
        """
        async with Runner(self.settings(name, **settings)) as runner:
            running = BenchRunner(runner, self.docker)
            if not background:
                yield running
                return
            async with in_background(runner):
                await running.at_rest()
                yield running

    async def ready_image(self) -> str:
        """An image by the documented way that holds the requirement and a bot, made once a run."""
        if self._ready is None:
            tag = f"{leftovers.REPOSITORY}/ready:{self.run}"
            self.tell(f"building an image with {REQUIREMENT} by hand")
            began = time.monotonic()
            files = by_hand.documented_files(self.base, REQUIREMENT, new_code())
            await self.by_hand(lambda: self.docker.build(tag, files))
            self.tell(f"built in {time.monotonic() - began:.1f} s")
            self._ready = tag
        return self._ready

    async def plain_image(self) -> str:
        """An image that holds a bot and nothing else, made once a run."""
        if self._plain is None:
            tag = f"{leftovers.REPOSITORY}/plain:{self.run}"
            dockerfile = f'FROM {self.base}\nWORKDIR /app\nCOPY bot.py .\nCMD ["python3", "bot.py"]\n'
            files = {"Dockerfile": dockerfile, "bot.py": new_code()}
            await self.by_hand(lambda: self.docker.build(tag, files))
            self._plain = tag
        return self._plain

    async def tools_image(self) -> str:
        """The base image and uv, in the runner's version, made once a run."""
        if self._tools is None:
            tag = f"{leftovers.REPOSITORY}/tools:{self.run}"
            dockerfile = f"FROM {self.base}\nRUN pip install --no-cache-dir uv=={UV_VERSION}\n"
            await self.by_hand(lambda: self.docker.build(tag, {"Dockerfile": dockerfile}))
            self._tools = tag
        return self._tools

    async def floor(self) -> Sample:
        """The floor: create and start of the image that is ready, on a bridge that is there."""
        config = by_hand.container(await self.ready_image(), self.network)
        return lambda: self.by_hand(lambda: by_hand.create_and_start(self.docker, config))
