"""The hardened configuration that all containers share, and containers that run once."""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from bot_runner_worker.aio import run_to_completion
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, containers, logs
from bot_runner_worker.engine.builds import BuildLog
from bot_runner_worker.model.identity import PROBE_ROLE, ROLE, BotKey
from bot_runner_worker.seccomp import PROFILE
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

NO_NETWORK = "none"
"""The Engine's name for the network of a container without one."""

SLOW_WALK = 0.25
"""A walk over a container's files that takes longer (in seconds) had many: then they are counted, too."""

SMALLEST_FILE = 4096
"""Bytes that a file takes at least on most file systems; the Engine adds up their lengths."""

_MIB = 1024 * 1024
_PROBE_PIDS = 64


def hardened(
    settings: Settings,
    *,
    memory: int,
    cpu: float,
    pids: int,
    log_size: int = 0,
    network: str = NO_NETWORK,
    ulimits: Mapping[str, int] | None = None,
    restart: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The ``HostConfig`` of a container: no capabilities, no new privileges, few system calls, limits.

    Args:
        settings: ``container_seccomp``.
        memory: Bytes; swap is included.
        cpu: Cores.
        pids: Processes and threads.
        log_size: Bytes of output that the Engine keeps; by default none, as :func:`run` reads it.
        network: Name of its network.
        ulimits: Hard limits of a process by their names, such as ``fsize``.
        restart: Restart policy; by default, the container is not restarted.
    """
    kept = {"Type": "json-file", "Config": {"max-size": str(log_size // 2), "max-file": "2"}}
    # Without an entry, the Engine's own.
    seccomp = [f"seccomp={PROFILE}"] if settings.container_seccomp == "strict" else []
    return {
        "Init": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", *seccomp],
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": int(cpu * 1_000_000_000),
        "PidsLimit": pids,
        "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in (ulimits or {}).items()],
        "NetworkMode": network,
        "IpcMode": "private",
        "RestartPolicy": dict(restart or {"Name": "no"}),
        "LogConfig": kept if log_size else {"Type": "none"},
    }


def folder_in_memory(path: str, size: int) -> dict[str, Any]:
    """The mount of a folder in memory.

    It is a nameless volume, which goes with its container, and not a tmpfs of the container's own: before
    each start, runc looks where a volume ends up and refuses ``/proc``, but not where a tmpfs does (1.1.5).
    By then a bot may have put a link where the folder above it was.

    Args:
        path: Absolute path in the container.
        size: Bytes.
    """
    in_memory = {"type": "tmpfs", "device": "tmpfs", "o": f"size={size},nosuid,nodev,noexec"}
    driver = {"Name": "local", "Options": in_memory}
    return {"Type": "volume", "Target": path, "VolumeOptions": {"NoCopy": True, "DriverConfig": driver}}


async def bytes_written(engine: Engine, container: str, *, enough: int) -> int:
    """Bytes that a container has written to its file system; 0 if it is gone.

    A file counts with its length, a sparse one as well. Where there are many, each counts with what it takes
    at least besides.

    Args:
        engine: The Engine.
        container: Its name or id.
        enough: Number at which it need not be told more exactly.
    """
    begun = monotonic()
    found = await containers.inspect(engine, container, size=True)
    written = int(found.get("SizeRw", 0)) if found is not None else 0
    if written > enough or monotonic() - begun < SLOW_WALK:
        return written
    most = (enough - written) // SMALLEST_FILE + 1
    files = await containers.count_changes(engine, container, enough=most)
    return written + files * SMALLEST_FILE


@dataclass(frozen=True, slots=True)
class Ended:
    """A container that has run once.

    Args:
        code: Its exit code.
        out_of_memory: Whether the Engine says that it ran out of memory.
        lines: The last lines of its output.
    """

    code: int
    out_of_memory: bool
    lines: list[str]


class OutputExceeded(Exception):
    """A container printed more than it may.

    Args:
        lines: The last lines of its output.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("too much output")
        self.lines = lines


@asynccontextmanager
async def temporary(engine: Engine, name: str, config: Mapping[str, Any]) -> AsyncIterator[str]:
    """Create a container; yields its name, and removes it at the end, whatever happens.

    Args:
        engine: The Engine.
        name: A name that no other container has.
        config: Body of ``POST /containers/create``.

    Raises:
        EngineError: If the Engine refuses it.
    """
    try:
        await run_to_completion(containers.create(engine, name, config))
        yield name
    finally:
        await run_to_completion(_remove(engine, name))


async def _remove(engine: Engine, name: str) -> None:
    try:
        await containers.remove(engine, name)
    except ENGINE_TROUBLE as error:
        logger.warning("the container %s is left to the sweep: %s", name, error)


async def _no_listener(text: str) -> None:
    """Ignore the output."""


async def run(
    engine: Engine,
    container: str,
    *,
    seconds: float,
    output_limit: int,
    on_output: Callable[[str], Awaitable[None]] = _no_listener,
) -> Ended:
    """Start a container and wait for its end; :func:`temporary` removes it.

    Args:
        engine: The Engine.
        container: Its name.
        seconds: Time limit.
        output_limit: Bytes that it may print.
        on_output: Awaited with each piece of output.

    Raises:
        EngineError: If the Engine refuses something.
        OutputExceeded: If it prints more.
        TimeoutError: If it takes longer.
    """
    log = BuildLog()
    async with asyncio.timeout(seconds):
        async with logs.attached(engine, container) as pieces:
            await containers.start(engine, container)
            async for text in pieces:
                log.add(text)
                if log.size > output_limit:
                    raise OutputExceeded(log.lines())
                await on_output(text)
        code = await containers.wait(engine, container)
        # Any SIGKILL gives 137, and a child may die of memory: the Engine's flag tells.
        found = await containers.inspect(engine, container) if code else None
    return Ended(code, bool(found and found["State"].get("OOMKilled")), log.lines())


async def run_once(engine: Engine, name: str, config: Mapping[str, Any], *, seconds: float) -> Ended:
    """Create a container, run it to its end, and remove it; see :func:`temporary` and :func:`run`."""
    async with temporary(engine, name, config) as container:
        return await run(engine, container, seconds=seconds, output_limit=_MIB)


async def json_answer(
    engine: Engine, name: str, config: Mapping[str, Any], *, seconds: float
) -> dict[str, Any]:
    """Run a container once; returns the JSON object that it prints on a line of its own.

    Raises:
        EngineError: If the Engine refuses something.
        TimeoutError: If it takes longer.
        ValueError: If it prints no such line, or too much.
    """
    try:
        ended = await run_once(engine, name, config, seconds=seconds)
    except OutputExceeded as error:
        raise ValueError("it printed too much") from error
    for line in ended.lines:
        if line.startswith("{"):
            answer: dict[str, Any] = json.loads(line)
            return answer
    raise ValueError("; ".join(ended.lines[-3:]) or "it printed nothing")


def probe_key() -> BotKey:
    """The key of what a check makes; no tenant can have it, since a user id is never empty."""
    return BotKey("", f"{PROBE_ROLE}-{secrets.token_hex(6)}")


def probe_container(
    settings: Settings,
    command: Sequence[str],
    *,
    key: BotKey | None = None,
    network: str = NO_NETWORK,
    user: str = "65534:65534",
    memory: int = 64 * _MIB,
    environment: Mapping[str, str] | None = None,
    runtime: str | None = None,
    read_only: bool = True,
    storage: Mapping[str, str] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Name and configuration of a container of the base image that finds something out.

    Nobody takes it for a bot or for a step of a build.

    Args:
        settings: Base image and namespace.
        command: What it runs.
        key: From :func:`probe_key`; by default a new one.
        network: Name of its network.
        user: Whom it runs as.
        memory: Bytes.
        environment: Its variables.
        runtime: Name of its runtime; by default the Engine's own.
        read_only: Whether it can write nothing to its file system.
        storage: Options of the storage driver.
    """
    key = key or probe_key()
    host = hardened(settings, memory=memory, cpu=1.0, pids=_PROBE_PIDS, network=network)
    host["ReadonlyRootfs"] = read_only
    if runtime is not None:
        host["Runtime"] = runtime
    if storage is not None:
        host["StorageOpt"] = dict(storage)
    config = {
        "Image": settings.base_image,
        "Entrypoint": list(command),
        "Cmd": [],
        "User": user,
        "Env": [f"{name}={value}" for name, value in (environment or {}).items()],
        "Labels": key.labels(settings.runner_namespace) | {ROLE: PROBE_ROLE},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }
    return key.container_name(settings.runner_namespace), config
