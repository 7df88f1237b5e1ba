"""One run: the Engine, what all rows share, and an end that removes everything; see :mod:`.leftovers`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar
from uuid import uuid4

from pydantic import SecretStr

from benchmarks import by_hand, leftovers
from benchmarks.docker_api import ADDRESS, Docker
from benchmarks.measuring import Sample, Tell, in_turn
from benchmarks.report import row_line
from benchmarks.results import Results, Row
from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.model.identity import NAMESPACE, BotKey
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings

Result = TypeVar("Result")

REQUIREMENT = "aiogram>=3,<4"
"""What most Telegram bots in Python need."""

STOP_GRACE_SECONDS = 2

REST_SECONDS = 0.8
"""A runner is at rest when its networks have not changed for so long: it makes the next one half a second
after the last start."""

LONGEST_REST = 20.0

IDLE_BOT = "import time\nprint('ready', flush=True)\nwhile True:\n    time.sleep(1)\n"


def new_code() -> str:
    """The source of a bot that was never seen before, and waits."""
    return f"{IDLE_BOT}# {uuid4().hex}\n"


class BenchRunner:
    """A runner whose tasks are timed, on the same Engine as the plain client."""

    def __init__(self, runner: Runner, docker: Docker) -> None:
        self.runner = runner
        self._docker = docker
        self.namespace = runner.settings.runner_namespace

    async def task(self, name: str, **params: Any) -> dict[str, Any]:
        """Run a task and return its data; one that does not succeed is an error."""

        async def ignore(_fraction: float, _message: str) -> None:
            pass

        outcome = await self.runner.run_task(name, params, ignore)
        if outcome.error is not None:
            raise RuntimeError(f"{name}: {outcome.error}")
        return outcome.data

    async def timed(self, name: str, **params: Any) -> float:
        """Run a task and return the seconds that it took."""
        began = time.perf_counter()
        await self.task(name, **params)
        return time.perf_counter() - began

    async def start(self, user_id: str, bot_id: str = "bot", **params: Any) -> float:
        """Start a bot and return the seconds that it took; by default a new bot in mode ``simple``."""
        if "deployment_mode" not in params:
            params = {"deployment_mode": "simple", "code": new_code(), **params}
        return await self.timed("start_bot", user_id=user_id, bot_id=bot_id, **params)

    async def start_and_remove(self, **params: Any) -> float:
        """Start a bot of a tenant of its own and return the seconds; afterwards all is as before."""
        user_id = f"tenant-{uuid4().hex[:8]}"
        took = await self.start(user_id, **params)
        await self.remove(user_id)
        await self.at_rest()
        return took

    async def remove(self, user_id: str, bot_id: str = "bot") -> None:
        """Remove a bot's container and network."""
        record = await self.runner.runtime.find(BotKey(user_id, bot_id))
        if record is not None:
            await self.runner.runtime.remove(record)

    async def at_rest(self) -> None:
        """Wait until the work in the background has made and removed what it wants to.

        Bytecode of new packages is compiled beside the next starts, with an eighth of their weight. Here it
        would be measured with whatever is next in turn.
        """
        await self.runner.images.packages.wait_closed()
        deadline = time.monotonic() + LONGEST_REST
        seen, since = self._networks(), time.monotonic()
        while time.monotonic() < min(deadline, since + REST_SECONDS):
            await asyncio.sleep(0.1)
            now = await asyncio.to_thread(self._networks)
            if now != seen:
                seen, since = now, time.monotonic()

    def _networks(self) -> frozenset[str]:
        mine = {"label": [f"{NAMESPACE}={self.namespace}"]}
        return frozenset(row["Id"] for row in self._docker.json("GET", "/networks", filters=mine))


class Bench:
    """What rows need; use it as an asynchronous context manager.

    Args:
        base_image: What bots are built on.
        tell: Told of progress.
        quick: Whether few samples must do.
        rounds: Number of samples of each contender, if not each row's own choice.
    """

    def __init__(self, base_image: str, tell: Tell, *, quick: bool, rounds: int | None) -> None:
        self.tell = tell
        self.quick = quick
        self.results = Results()
        self.docker = Docker()
        self.run = uuid4().hex[:8]
        self.base = f"{leftovers.REPOSITORY}/base:{self.run}"
        self.network = f"bot-runner-bench-{self.run}"
        self._base_image = base_image
        self._rounds = rounds

    async def __aenter__(self) -> Self:
        self.tell("removing what an earlier run may have left")
        await self.by_hand(lambda: leftovers.sweep(self.docker))
        await self.by_hand(self._prepare)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.tell("removing what this run has made")
        left = await self.by_hand(lambda: leftovers.sweep(self.docker))
        self.results.failures += [f"left behind: {each.kind} {each.id}" for each in left]

    def _prepare(self) -> None:
        # A new label makes a new id: no layer of an earlier run is ever hit.
        labels = " ".join(f"{name}={self.run}" for name in leftovers.LABELS)
        self.docker.build(self.base, {"Dockerfile": f"FROM {self._base_image}\nLABEL {labels}\n"})
        self.docker.json("POST", "/networks/create", {"Name": self.network, "Labels": leftovers.LABELS})

    def add(self, row: Row) -> None:
        """Note a row."""
        self.results.rows.append(row)
        self.tell(row_line(row))

    async def by_hand(self, work: Callable[[], Result]) -> Result:
        """Do something with plain calls in a thread, so that the runner's background work goes on."""
        return await asyncio.to_thread(work)

    async def in_turn(
        self, contenders: Mapping[str, Sample], full: int, quick: int, **options: Any
    ) -> dict[str, list[float]]:
        """See :func:`benchmarks.measuring.in_turn`."""
        rounds = self._rounds or (quick if self.quick else full)
        return await in_turn(contenders, rounds=rounds, tell=self.tell, **options)

    @asynccontextmanager
    async def runner(
        self, name: str, *, background: bool = True, **settings: Any
    ) -> AsyncIterator[BenchRunner]:
        """A runner as a worker has it, at rest; what it makes goes with the run at the latest."""
        namespace = f"{leftovers.NAMESPACE_PREFIX}{self.run}-{name}"
        defaults = {
            "runner_namespace": namespace,
            "worker_token": SecretStr("unused"),
            "docker_host": ADDRESS,
            "base_image": self.base,
            "docker_network": f"{namespace}-net",
            "stop_grace_seconds": STOP_GRACE_SECONDS,
            "max_bots_per_user": 100,
            "isolation_required": "off",
        }
        async with Runner(Settings.load(**{**defaults, **settings})) as runner:
            running = BenchRunner(runner, self.docker)
            tasks: list[asyncio.Task[None]] = []
            try:
                if background:
                    await runner.images.prepare()
                    # See bot_runner_worker.worker.process.
                    loops = (runner.supervisor.run(), runner.limits_watch.run(), runner.networks_ahead.run())
                    tasks = [asyncio.create_task(loop) for loop in loops]
                    await running.at_rest()
                yield running
            finally:
                for task in tasks:
                    task.cancel()
                if tasks:
                    await asyncio.wait(tasks, timeout=10)

    def stack(self, name: str) -> EmbeddedStack:
        """A real orchestrator and worker in a namespace of the run; what they make goes with the run."""
        settings = {
            "BASE_IMAGE": self.base,
            "STOP_GRACE_SECONDS": str(STOP_GRACE_SECONDS),
            "MAX_BOTS_PER_USER": "100",
            "HEALTH_ADDRESS": "off",
        }
        namespace = f"{leftovers.NAMESPACE_PREFIX}{self.run}-{name}"
        return EmbeddedStack(StackOptions(namespace=namespace, worker_env=settings))

    async def _image(self, name: str, files: Mapping[str, str]) -> str:
        tag = f"{leftovers.REPOSITORY}/{name}:{self.run}"
        await self.by_hand(lambda: self.docker.build(tag, files))
        return tag

    async def ready_image(self) -> str:
        """An image by the documented way that holds the requirement and a bot, built once a run."""
        return await self._image("ready", by_hand.documented_files(self.base, REQUIREMENT, IDLE_BOT))

    async def plain_image(self) -> str:
        """An image that holds a bot and nothing else, built once a run."""
        dockerfile = f'FROM {self.base}\nWORKDIR /app\nCOPY bot.py .\nCMD ["python3", "bot.py"]\n'
        return await self._image("plain", {"Dockerfile": dockerfile, "bot.py": IDLE_BOT})

    async def floor(self) -> Sample:
        """The floor: create and start of the image that is ready, on a bridge that is there."""
        config = by_hand.container(await self.ready_image(), self.network)
        return lambda: self.by_hand(lambda: by_hand.create_and_start(self.docker, config))
