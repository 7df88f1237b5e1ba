"""Checks of a worker's surroundings, each with a finding and, where something is wrong, a remedy."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from bot_runner_worker.engine import Engine, EngineError, images
from bot_runner_worker.errors import BotRunnerError
from bot_runner_worker.quantities import format_size
from bot_runner_worker.runner import load_plugins
from bot_runner_worker.settings import Settings

OLDEST_API = (1, 41)


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One check's result.

    Args:
        name: What was checked.
        state: How it came out.
        finding: What was found.
        remedy: How to mend it, if there is something to mend.
    """

    name: str
    state: State
    finding: str
    remedy: str = ""


async def run_checks(settings: Settings) -> list[Check]:
    """Run all checks, one after the other; a check that fails does not stop the others."""
    async with Engine(settings.docker_host) as engine:
        checks: list[Callable[[], Awaitable[Check]]] = [
            lambda: _engine(engine, settings),
            lambda: _base_image(engine, settings),
            lambda: _plugins(settings),
            lambda: _orchestrator(settings),
        ]
        return [await check() for check in checks]


async def _engine(engine: Engine, settings: Settings) -> Check:
    name = "Docker Engine"
    try:
        async with asyncio.timeout(15):
            version = await engine.version()
            info = await engine.json("GET", "info")
    except (BotRunnerError, EngineError, TimeoutError) as error:
        return Check(
            name,
            State.FAILED,
            f"no answer at {settings.docker_host} ({error})",
            "Start the Engine, or set DOCKER_HOST; the worker needs read and write access to its socket.",
        )
    api = tuple(int(part) for part in version["ApiVersion"].split("."))
    finding = (
        f"{version['Version']}, API {version['ApiVersion']}, storage {info['Driver']}, "
        f"cgroup v{info.get('CgroupVersion', '1')}, {info['NCPU']} CPUs, {format_size(info['MemTotal'])}"
    )
    if api < OLDEST_API:
        return Check(name, State.FAILED, finding, "Upgrade to Docker Engine 20.10 (API 1.41) or later.")
    if not (info.get("MemoryLimit") and info.get("PidsLimit") and info.get("CpuCfsQuota")):
        return Check(
            name,
            State.FAILED,
            f"{finding}; the kernel does not enforce limits of memory, CPU and processes",
            "Enable the cgroup controllers memory, cpu and pids.",
        )
    return Check(name, State.OK, finding)


async def _base_image(engine: Engine, settings: Settings) -> Check:
    name = "base image"
    try:
        image = await images.inspect(engine, settings.base_image)
    except (BotRunnerError, EngineError) as error:
        return Check(name, State.FAILED, f"{settings.base_image}: {error}")
    if image is None:
        return Check(
            name,
            State.WARNING,
            f"{settings.base_image} is not there; the first start will pull it",
            f"Pull it beforehand: docker pull {settings.base_image}",
        )
    return Check(name, State.OK, f"{settings.base_image} ({image.id[:19]})")


async def _plugins(settings: Settings) -> Check:
    name = "plugins"
    loaded = load_plugins(settings.model_copy(update={"plugins_strict": False}))
    refused = [report for report in loaded.reports if report.status == "refused"]
    offered = [source for report in loaded.reports for source in report.sources]
    if refused:
        return Check(
            name,
            State.FAILED,
            "; ".join(report.problem for report in refused),
            "See bot-runner-worker plugins.",
        )
    if not offered:
        return Check(
            name,
            State.WARNING,
            "none offers a deployment mode",
            "Install one: pip install bot-runner-plugin-simple",
        )
    return Check(name, State.OK, ", ".join(offered))


async def _orchestrator(settings: Settings) -> Check:
    name = "orchestrator"
    url = f"{settings.orchestrator_url}/_public/status"
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            if response.status == 200:
                return Check(name, State.OK, settings.orchestrator_url)
            finding = f"{settings.orchestrator_url} answers with status {response.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        finding = f"{settings.orchestrator_url} does not answer ({type(error).__name__})"
    return Check(name, State.FAILED, finding, "Start the orchestrator, or correct ORCHESTRATOR_URL.")
