"""Row 7: start of a bot that has run before, with nothing changed, in every mode."""

import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.bench import REQUIREMENT, Bench
from benchmarks.docker_api import Docker, tar_of
from benchmarks.leftovers import LABEL
from benchmarks.measuring import Sample
from benchmarks.results import ratio, value
from benchmarks.running import BenchRunner, new_code
from benchmarks.servers import ADDRESSES_ALLOWED, CountingRegistry, GitServer
from bot_runner_worker.model.identity import ROLE

USER = "redeployer"


@dataclass(slots=True)
class Work:
    """What the runner did beside starting containers, in all samples of a mode.

    Args:
        builds: Images that were new, and containers of build steps.
        fetches: Requests to the Git server for the content of commits.
        layers: Requests to the registry for layers.
        checks: Requests to the registry for manifests.
    """

    builds: int = 0
    fetches: int = 0
    layers: int = 0
    checks: int = 0


@dataclass(slots=True)
class Evidence:
    """Counts work, by what the Engine holds and what the servers were asked."""

    docker: Docker
    git: GitServer
    registry: CountingRegistry
    work: dict[str, Work] = field(default_factory=dict)

    @asynccontextmanager
    async def of(self, mode: str, bench: Bench) -> AsyncIterator[None]:
        """Count what the block causes."""
        work = self.work.setdefault(mode, Work())
        images, fetches = await bench.by_hand(self._images), self.git.fetches
        layers, checks = self.registry.layers(images), self.registry.manifests
        began = time.time()
        yield
        ended = time.time()
        steps = await bench.by_hand(lambda: self._build_steps(began, ended))
        work.builds += steps + len(await bench.by_hand(self._images) - images)
        work.fetches += self.git.fetches - fetches
        work.layers += self.registry.layers(images) - layers
        work.checks += self.registry.manifests - checks

    def _images(self) -> frozenset[str]:
        rows = self.docker.json("GET", "/images/json", all="1", filters={"label": [LABEL]})
        return frozenset(row["Id"] for row in rows)

    def _build_steps(self, began: float, ended: float) -> int:
        # The base image's label is on all containers of this run; the role of a bot on those of bots only.
        events = self.docker.events(began, ended, event=["create"], type=["container"], label=[LABEL])
        return sum(event["Actor"]["Attributes"].get(ROLE) != "bot" for event in events)


async def measure(bench: Bench) -> None:
    """A bot is started, stopped, and started again with the same request; the floor is for comparison."""
    docker = bench.docker
    registry_folder, git_folder = bench.folder / "registry", bench.folder / "git"
    for folder in (registry_folder, git_folder):
        folder.mkdir()
    registry = CountingRegistry(registry_folder)
    git = GitServer(git_folder)
    try:
        evidence = Evidence(docker, git, registry)
        async with bench.runner(
            "redeploy", source_addresses_allowed=ADDRESSES_ALLOWED, registries_allowed=registry.host
        ) as runner:
            requests = await _requests(bench, runner, git, registry)
            contenders: dict[str, Sample] = {"floor": await bench.floor()}
            for mode, params in requests.items():
                await runner.start(USER, mode, **params)
                contenders[mode] = _again(bench, runner, evidence, mode, params)
            taken = await bench.in_turn(contenders, full=7, quick=2)
    finally:
        registry.close()
        git.close()
    for mode in requests:
        what = f"unchanged redeploy, mode {mode}"
        bench.add(
            ratio(
                f"redeploy.{mode}", what, "create + start by API (floor)", taken[mode], taken["floor"], None
            )
        )
    counts: dict[str, Callable[[Work], int]] = {
        "builds": lambda work: work.builds,
        "clones": lambda work: work.fetches,
        "pulls": lambda work: work.layers,
    }
    checks = sum(work.checks for work in evidence.work.values())
    bench.tell(f"the registry was asked for {checks} manifests")
    for name, count in counts.items():
        by_mode = {mode: count(work) for mode, work in evidence.work.items()}
        note = ", ".join(f"{mode} {number}" for mode, number in by_mode.items())
        bench.add(value(f"redeploy.{name}", f"unchanged redeploys: {name}", sum(by_mode.values()), 0, note))


async def _requests(
    bench: Bench, runner: BenchRunner, git: GitServer, registry: CountingRegistry
) -> dict[str, dict[str, Any]]:
    dockerfile = f'FROM {bench.base}\nWORKDIR /srv\nCOPY bot.py .\nUSER 1000\nCMD ["python3", "bot.py"]\n'
    project = {"Dockerfile": dockerfile, "bot.py": new_code()}
    bench.tell("putting an image into a registry on this machine")
    image = await registry.push(
        runner.runner.engine,
        "bench/bot:latest",
        dockerfile,
        {"bot.py": project["bot.py"].encode()},
    )
    return {
        "simple": {"deployment_mode": "simple", "code": new_code(), "requirements": [REQUIREMENT]},
        "custom-git": {
            "deployment_mode": "custom",
            "git_repo": await bench.by_hand(lambda: git.repository("bot.git", project)),
        },
        "custom-archive": {
            "deployment_mode": "custom",
            "archive": base64.b64encode(tar_of(project)).decode(),
        },
        "image": {"deployment_mode": "image", "docker_image": image},
    }


def _again(
    bench: Bench, runner: BenchRunner, evidence: Evidence, mode: str, params: dict[str, Any]
) -> Sample:
    async def sample() -> float:
        await runner.task("stop_bot", user_id=USER, bot_id=mode)
        await runner.at_rest()
        async with evidence.of(mode, bench):
            return await runner.start(USER, mode, **params)

    return sample
