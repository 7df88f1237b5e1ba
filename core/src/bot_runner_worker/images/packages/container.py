"""A throwaway container that does one thing for an image, within the limits of a build."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Never

from bot_runner_worker.aio import run_to_completion, watched
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, containers, logs
from bot_runner_worker.engine.builds import BuildError, BuildLog
from bot_runner_worker.images import build_errors
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.model.progress import Progress
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

AFTERWARDS = 0.7
"""Seconds until what no start waits for begins: by then the bot that the work was for has started."""

_DISK_INTERVAL = 1.0
_NO_NETWORK = "none"
_TOLD = ("Resolved ", "Downloading ", "Prepared ", "Building ", "Installed ")
"""How the lines of uv's output begin that say how far it is."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the container does.

    Args:
        image: Id of the image that it is made from.
        command: What it runs, as root without any capability.
        network: Name of its network.
        volumes: Names of volumes by the folder where they are mounted.
        writable: Those of the folders that it may write to.
        cpu_shares: Its weight when the CPUs are busy; Docker's default is 1024.
        cpu: Its limit in cores, if that is not a build's.
        stays: Seconds for which the container is left alone after it has ended well.
    """

    image: str
    command: tuple[str, ...]
    network: str = _NO_NETWORK
    volumes: Mapping[str, str] = field(default_factory=dict)
    writable: frozenset[str] = frozenset()
    cpu_shares: int = 1024
    cpu: float | None = None
    stays: float = 0.0


class WorkContainers:
    """Runs such containers, and leaves none behind.

    Args:
        engine: The Engine.
        settings: The limits of builds.
        disk: Room on the Engine's disk.
    """

    def __init__(self, engine: Engine, settings: Settings, disk: EngineDisk) -> None:
        self._engine = engine
        self._settings = settings
        self._disk = disk
        self._removals: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def done(self, work: Work, progress: Progress) -> AsyncIterator[tuple[str, list[str]]]:
        """Do the work; the block gets the name of the container that has ended well, and its last lines.

        Args:
            work: What to do.
            progress: Told of what uv says.

        Raises:
            BuildError: If it ends with another code than 0.
            EngineError: If the Engine refuses something.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        await self._disk.check()
        name = f"{self._settings.docker_network}-work-{secrets.token_hex(6)}"
        try:
            await run_to_completion(containers.create(self._engine, name, self._config(work)))
            async with asyncio.timeout(self._settings.build_timeout_seconds):
                output = await watched(self._run(name, progress), self._watch(name))
            yield name, output
        except BaseException:
            await asyncio.shield(self._remove(name))
            raise
        # Nobody has to wait for that, nor for the CPU time that it takes.
        task = asyncio.create_task(self._remove(name, after=work.stays))
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def settled(self) -> None:
        """Wait until all containers are gone that have done their work."""
        if self._removals:
            await asyncio.wait(set(self._removals))

    def _config(self, work: Work) -> dict[str, Any]:
        settings = self._settings
        limits = {"fsize": settings.max_image_size, "core": 0}
        return {
            "Image": work.image,
            "Entrypoint": [],
            "Cmd": list(work.command),
            "User": "0:0",
            "WorkingDir": "/",
            "Labels": {NAMESPACE: settings.runner_namespace, ROLE: BUILD_ROLE},
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "Init": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "Memory": settings.build_memory_limit,
                "MemorySwap": settings.build_memory_limit,
                "NanoCpus": int((work.cpu or settings.build_cpu_limit) * 1_000_000_000),
                "CpuShares": work.cpu_shares,
                "PidsLimit": settings.build_pids_limit,
                "Ulimits": [{"Name": name, "Soft": most, "Hard": most} for name, most in limits.items()],
                "NetworkMode": work.network,
                "IpcMode": "private",
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
                "Mounts": [
                    {
                        "Type": "volume",
                        "Source": name,
                        "Target": folder,
                        "ReadOnly": folder not in work.writable,
                        # What the image has at that place is not for the volume.
                        "VolumeOptions": {"NoCopy": True},
                    }
                    for folder, name in work.volumes.items()
                ],
            },
        }

    async def _run(self, container: str, progress: Progress) -> list[str]:
        await containers.start(self._engine, container)
        log = BuildLog()
        async with aclosing(logs.follow(self._engine, container)) as pieces:
            async for text in pieces:
                log.add(text)
                if log.size > self._settings.build_output_limit:
                    raise build_errors.output_exceeded(self._settings, log.lines())
                if text.startswith(_TOLD):
                    await progress(text.splitlines()[0][:120], None)
        code = await containers.wait(self._engine, container)
        if code:
            found = await containers.inspect(self._engine, container)
            if found is not None and found["State"].get("OOMKilled"):
                code = 137
            raise BuildError(f"installing the packages returned a non-zero code: {code}", log.lines())
        return log.lines()

    async def _watch(self, container: str) -> Never:
        limit = self._settings.max_image_size
        while True:
            await asyncio.sleep(_DISK_INTERVAL)
            await self._disk.check()
            found = await containers.inspect(self._engine, container, size=True)
            if found is not None and found.get("SizeRw", 0) > limit:
                raise Rejected(
                    Code.BUILD_LIMIT_EXCEEDED,
                    f"The packages take more than {format_size(limit)}.",
                    hint="Leave some out, or ask the operator to raise MAX_IMAGE_SIZE.",
                    details={"limit": "disk", "limit_bytes": limit},
                )

    async def _remove(self, container: str, *, after: float = 0.0) -> None:
        await asyncio.sleep(after)
        try:
            await containers.remove(self._engine, container)
        except ENGINE_TROUBLE as error:
            logger.warning("the container %s is left to the sweep: %s", container, error)
