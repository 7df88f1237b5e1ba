"""Checks of a worker's surroundings, each with a finding and, where something is wrong, a remedy."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from bot_runner_worker.engine import Engine, EngineError, images
from bot_runner_worker.errors import BotRunnerError
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.isolation.probe import Level, probe_isolation
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
            lambda: _registries(settings),
            lambda: _disk(engine, settings),
            lambda: _plugins(settings),
            lambda: _orchestrator(settings),
            lambda: _isolation(engine, settings),
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


async def _registries(settings: Settings) -> Check:
    name = "registries"
    if "*" in settings.registries_allowed:
        return Check(
            name,
            State.WARNING,
            "users may name any registry, and a hostile one can send the Engine on to inner addresses, or "
            "use up its memory",
            "List the registries that you trust in REGISTRIES_ALLOWED.",
        )
    return Check(name, State.OK, f"{len(settings.registries_allowed)} allowed")


async def _disk(engine: Engine, settings: Settings) -> Check:
    name = "Engine's disk"
    try:
        free = await EngineDisk(engine, settings).free()
    except (BotRunnerError, EngineError) as error:
        return Check(name, State.FAILED, str(error))
    if free is None:
        return Check(
            name,
            State.WARNING,
            "its free space cannot be seen from here: builds and pulls are not held back when it is full",
            "Run the worker where the Engine's data folder can be read, or watch the disk yourself.",
        )
    if free < settings.min_free_disk:
        return Check(
            name,
            State.FAILED,
            f"{format_size(free)} free, less than MIN_FREE_DISK: nothing is built or pulled",
            "Make room: docker system df shows what takes it.",
        )
    return Check(name, State.OK, f"{format_size(free)} free")


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


async def _isolation(engine: Engine, settings: Settings) -> Check:
    name = "isolation"
    try:
        found = await probe_isolation(engine, settings)
    except BotRunnerError as error:
        return Check(name, State.WARNING, f"unknown ({error})", error.hint)
    match found.level:
        case Level.FULL:
            return Check(
                name, State.OK, f"{found}: neither the host nor cloud metadata is within a bot's reach"
            )
        case Level.DEGRADED:
            remedy = "Close it on the Engine's host, as root: bot-runner-worker firewall apply"
        case Level.UNKNOWN:
            remedy = "Run bot-runner-worker doctor on the Engine's host itself, not in a container."
    return Check(name, State.WARNING, str(found), remedy)
