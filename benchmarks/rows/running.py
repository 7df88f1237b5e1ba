"""Replacement, many starts at once, redeploys, jobs through the orchestrator, and the lines of a log."""

import asyncio
import base64
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from tests.corpus.git_repositories import Repository
from tests.corpus.git_server import serve_repositories
from tests.corpus.tars import tar_of
from tests.registry import Registry

from benchmarks import by_hand
from benchmarks.bench import REQUIREMENT, Bench, BenchRunner, new_code
from benchmarks.docker_api import NANOSECONDS
from benchmarks.measuring import Sample
from benchmarks.results import compare
from benchmarks.rows.starts import FLOOR
from bot_runner_cli.api import Orchestrator
from bot_runner_cli.connection import Connection
from bot_runner_cli.jobs import JobRunner
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE
from bot_runner_worker.testing.source_server import ALLOWED, Server

AT_ONCE = 16


async def replace(bench: Bench) -> None:
    """A replacement by the runner, and ``stop`` and ``start`` of a container, which stays the same one.

    Both are measured by the Engine's events, from the death of the old process to the start of the new one:
    a bot that was asked to stop still runs until it is dead.
    """
    docker = bench.docker
    config = by_hand.container(await bench.plain_image(), bench.network)
    container = await bench.by_hand(lambda: docker.create(config))
    await bench.by_hand(lambda: docker.start(container))

    def restart() -> float:
        since = time.time()
        docker.stop(container)
        docker.start(container)
        return seconds_without(
            docker.events(since, time.time(), container=[container], event=["die", "start"])
        )

    async with bench.runner("replace") as runner:
        await runner.start("replacer")
        mine = [f"{NAMESPACE}={runner.namespace}", f"{BOT_ID}=bot"]

        async def by_runner() -> float:
            since = time.time()
            await runner.start("replacer", replace=True)
            read = partial(docker.events, since, time.time(), label=mine, event=["die", "start"])
            return seconds_without(await bench.by_hand(read))

        contenders = {"restart": lambda: bench.by_hand(restart), "replace": by_runner}
        taken = await bench.in_turn(contenders, full=15, quick=5)
    await bench.by_hand(lambda: docker.remove(container))
    row = ("replace.gap", "replace: time without a running bot", "stop + start of the raw container")
    bench.add(compare("ratio", *row, taken["replace"], taken["restart"], 1.3))


def seconds_without(events: Iterable[Mapping[str, Any]]) -> float:
    """Seconds from the first death to the first start after it, by the Engine's own clock."""
    died: int | None = None
    for event in sorted(events, key=lambda event: int(event["timeNano"])):
        if event["Action"] == "die" and died is None:
            died = event["timeNano"]
        elif event["Action"] == "start" and died is not None:
            return float(event["timeNano"] - died) / NANOSECONDS
    raise ValueError("the Engine tells of no death with a start after it")


async def burst(bench: Bench) -> None:
    """Sixteen tenants start a bot at once, by the runner and by as many processes of ``docker run -d``.

    The samples are the time until the last of them runs. ``docker run`` takes an image that holds the
    bot, and one bridge for all; the runner puts its code into the base image, and gives each a network.
    """
    image = await bench.plain_image()

    command = ["docker", "run", "-d", *by_hand.run_options(bench.network), image]

    def docker_run() -> float:
        began = time.perf_counter()
        processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(AT_ONCE)]
        codes = [process.wait() for process in processes]
        took = time.perf_counter() - began
        by_hand.remove_containers(bench.docker, image)
        if any(codes):
            raise RuntimeError("docker run failed")
        return took

    async with bench.runner("burst") as runner:

        async def by_runner() -> float:
            tenants = [f"tenant-{uuid4().hex[:8]}" for _ in range(AT_ONCE)]
            began = time.perf_counter()
            await asyncio.gather(*map(runner.start, tenants))
            took = time.perf_counter() - began
            await asyncio.gather(*map(runner.remove, tenants))
            await runner.at_rest()
            return took

        contenders = {"docker run": lambda: bench.by_hand(docker_run), "runner": by_runner}
        taken = await bench.in_turn(contenders, full=5, quick=2, warm_ups=0)
    rates = [f"{AT_ONCE / median(taken[name]):.1f} by {name}" for name in ("runner", "docker run")]
    note = f"starts in a second: {', '.join(rates)}"
    row = ("burst.throughput", f"{AT_ONCE} starts at once", f"docker run -d x {AT_ONCE}")
    bench.add(compare("speed-up", *row, taken["runner"], taken["docker run"], 0.9, note))


async def redeploy(bench: Bench) -> None:
    """A bot is started, stopped, and started again with the same request; the floor is for comparison."""
    with ExitStack() as stack:
        images, repositories = (Path(stack.enter_context(TemporaryDirectory())) for _ in range(2))
        registry = stack.enter_context(closing(Registry(images)))
        git = stack.enter_context(closing(Server(lambda handler: serve_repositories(handler, repositories))))
        dockerfile = f'FROM {bench.base}\nWORKDIR /srv\nCOPY bot.py .\nUSER 1000\nCMD ["python3", "bot.py"]\n'
        project = {"Dockerfile": dockerfile, "bot.py": new_code()}
        settings = {"source_addresses_allowed": f"{ALLOWED}/32", "registries_allowed": registry.host}
        async with bench.runner("redeploy", **settings) as runner:
            bench.tell("putting an image into a registry, and a commit into a repository, on this machine")
            code = {"bot.py": project["bot.py"].encode()}
            image = await registry.push(runner.runner.engine, "bench/bot:latest", dockerfile, code)
            await bench.by_hand(lambda: Repository(repositories / "bot.git").commit_files({**project}))
            archive = base64.b64encode(tar_of(project)).decode()
            requests: dict[str, dict[str, Any]] = {
                "simple": {"deployment_mode": "simple", "code": new_code(), "requirements": [REQUIREMENT]},
                "custom-git": {"deployment_mode": "custom", "git_repo": git.url("/bot.git")},
                "custom-archive": {"deployment_mode": "custom", "archive": archive},
                "image": {"deployment_mode": "image", "docker_image": image},
            }
            contenders: dict[str, Sample] = {"floor": await bench.floor()}
            for mode, params in requests.items():
                await runner.start("redeployer", mode, **params)
                contenders[mode] = partial(_again, runner, mode, params)
            taken = await bench.in_turn(contenders, full=7, quick=2)
    for mode in requests:
        row = (f"redeploy.{mode}", f"unchanged redeploy, mode {mode}", FLOOR)
        bench.add(compare("ratio", *row, taken[mode], taken["floor"], None))


async def _again(runner: BenchRunner, mode: str, params: dict[str, Any]) -> float:
    await runner.task("stop_bot", user_id="redeployer", bot_id=mode)
    await runner.at_rest()
    return await runner.start("redeployer", mode, **params)


JOB_SECONDS = 120.0

LINES = 100
SIZE = 95_000_000
FILL_SECONDS = 180

LIMITS: dict[str, Any] = {"container_log_limit": "400m", "container_cpu_limit": 2.0}
"""For the bot: a file of that size, and more CPU so that it has said its lines sooner."""

# A line of the file holds the text, about 70 bytes around it, and the escaped end of the line.
_TEXT = 160
TALKER = f"""\
import sys, time
line = "x" * {_TEXT - 1} + "\\n"
for _ in range({SIZE // (_TEXT + 75)}):
    sys.stdout.write(line)
sys.stdout.flush()
while True:
    time.sleep(1)
"""


async def orchestrator(bench: Bench) -> None:
    """A job, and the same task run without orchestrator and SDK, by a runner like the worker's.

    Both are measured until the bot's process runs, by the Engine's record of it (``State.StartedAt``), on the
    clock of this machine: when a client hears of it is a matter of how often it asks.
    """
    docker = bench.docker

    async def began_to_run(container: str) -> float:
        state = (await bench.by_hand(lambda: docker.json("GET", f"/containers/{container}/json")))["State"]
        return datetime.fromisoformat(state["StartedAt"]).timestamp()

    async with bench.stack("jobs") as stack, bench.runner("direct") as runner:
        await asyncio.sleep(2)  # until the worker's networks lie ready
        with Orchestrator(Connection(stack.url, stack.client_token)) as client:
            jobs = JobRunner(client, None, JOB_SECONDS)

            async def by_job() -> float:
                bot = {"bot_id": f"bot-{uuid4().hex[:8]}"}
                start = {**bot, "deployment_mode": "simple", "code": new_code()}
                began = time.time()
                result = await bench.by_hand(lambda: jobs.run("start", start))
                took = await began_to_run(result["container_id"]) - began
                await bench.by_hand(lambda: jobs.run("stop", bot))
                await bench.by_hand(lambda: docker.remove(result["container_id"]))
                return took

            async def directly() -> float:
                user = f"tenant-{uuid4().hex[:8]}"
                start = {"bot_id": "bot", "deployment_mode": "simple", "code": new_code()}
                began = time.time()
                result = await runner.task("start_bot", user_id=user, **start)
                took = await began_to_run(result["container_id"]) - began
                await runner.remove(user)
                await runner.at_rest()
                return took

            # The pause lets the worker's background work come to rest, as at_rest does for the runner here.
            taken = await bench.in_turn({"job": by_job, "task": directly}, full=12, quick=3, pause=1.0)
    row = ("orchestrator", "job posted to bot running, through the orchestrator", "the start itself")
    bench.add(compare("difference", *row, taken["job"], taken["task"], 0.150))


async def logs(bench: Bench) -> None:
    """``get_logs`` of the runner, and the raw call for the same lines of the same container."""
    docker = bench.docker
    # Nobody watches limits here: that would end a bot that prints so much at once.
    async with bench.runner("logs", background=False, **LIMITS) as runner:
        bot = {"user_id": "talker", "bot_id": "bot"}
        container = (await runner.task("start_bot", **bot, deployment_mode="simple", code=TALKER))[
            "container_id"
        ]
        size = await bench.by_hand(lambda: _filled(docker.json("GET", f"/containers/{container}/json")))
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": LINES}

        def raw() -> float:
            began = time.perf_counter()
            docker.call("GET", f"/containers/{container}/logs", **query)
            return time.perf_counter() - began

        contenders = {
            "raw": lambda: bench.by_hand(raw),
            "runner": lambda: runner.timed("get_logs", **bot, lines=LINES),
        }
        taken = await bench.in_turn(contenders, full=40, quick=10, pause=0.02)
    await bench.by_hand(lambda: docker.remove(container))
    what = f"get_logs of {LINES} lines in {size / 1e6:.0f} MB"
    bench.add(compare("ratio", "logs", what, "the raw API call", taken["runner"], taken["raw"], 2.0))


def _filled(container: dict[str, str]) -> int:
    """Wait until the log has its size; returns it in bytes."""
    log, size = Path(container["LogPath"]), -1
    for _ in range(2 * FILL_SECONDS):
        time.sleep(0.5)
        size, before = log.stat().st_size, size
        if before == size >= 0.95 * SIZE:
            return size
    raise TimeoutError(f"the log has only {size} bytes")
