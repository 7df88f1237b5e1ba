"""Containers that do one step of an installation, within the limits of a build."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Never

from bot_runner_worker.aio import BackgroundTasks, watched
from bot_runner_worker.containers import NO_NETWORK, OutputExceeded, bytes_written, hardened, run, temporary
from bot_runner_worker.engine import Engine
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images import build_errors
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.model.image import Progress
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.settings import Settings

START_DELAY = 0.7
"""Seconds before work that no start waits for: the bot that needs the image starts first."""

_DISK_INTERVAL = 1.0
_REPORTED = ("Resolved ", "Downloading ", "Prepared ", "Building ", "Installed ")
"""Beginnings of the lines in which uv reports its progress."""


@dataclass(frozen=True, slots=True)
class InstallStep:
    """What a container does.

    Args:
        image: Id of its image.
        command: What it runs, as root without any capability.
        online: Whether it has a network, where it is alone.
        volumes: Names of volumes by the folder where they are mounted.
        writable: Those of the folders that it may write to.
        cpu_shares: Its weight when the CPUs are busy; Docker's default is 1024.
        cpu: Its limit in cores, if that is not a build's.
        remove_after: Seconds between its success and its removal.
    """

    image: str
    command: tuple[str, ...]
    online: bool = False
    volumes: Mapping[str, str] = field(default_factory=dict)
    writable: frozenset[str] = frozenset()
    cpu_shares: int = 1024
    cpu: float | None = None
    remove_after: float = 0.0

    def config(self, settings: Settings, network: str = NO_NETWORK) -> dict[str, Any]:
        """Body of ``POST /containers/create``, with the name of its network."""
        host = hardened(
            settings,
            memory=settings.build_memory_limit,
            cpu=self.cpu or settings.build_cpu_limit,
            pids=settings.build_pids_limit,
            network=network,
            ulimits={"fsize": settings.max_image_size, "core": 0},
        )
        mounts = [
            {
                "Type": "volume",
                "Source": name,
                "Target": folder,
                "ReadOnly": folder not in self.writable,
                # Files of the image in that folder are not copied into the volume.
                "VolumeOptions": {"NoCopy": True},
            }
            for folder, name in self.volumes.items()
        ]
        return {
            "Image": self.image,
            "Entrypoint": list(self.command),
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "Labels": {NAMESPACE: settings.runner_namespace, ROLE: BUILD_ROLE},
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": host | {"CpuShares": self.cpu_shares, "Mounts": mounts},
        }


class InstallContainers:
    """Runs the steps of installations, and removes their containers and networks.

    Args:
        engine: The Engine.
        settings: The limits of builds.
        networks: Has one for each step.
    """

    def __init__(self, engine: Engine, settings: Settings, networks: PrewarmedNetworks) -> None:
        self._engine = engine
        self._settings = settings
        self._networks = networks
        self._disk = EngineDisk(engine, settings)
        self._removals = BackgroundTasks()

    @asynccontextmanager
    async def run(self, step: InstallStep, progress: Progress) -> AsyncIterator[tuple[str, list[str]]]:
        """Run a step; yields the name of its container, which has ended well, and its last lines.

        Args:
            step: What to do.
            progress: Told of uv's progress.

        Raises:
            BuildError: If it ends with another code than 0.
            EngineError: If the Engine refuses something.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Unavailable: ``ENGINE_DISK_FULL``, or ``NETWORK_POOL_EMPTY``.
        """
        await self._disk.check()
        name = f"{self._settings.docker_network}-work-{secrets.token_hex(6)}"
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(self._networks.taken()) if step.online else NO_NETWORK
            config = step.config(self._settings, network)
            await stack.enter_async_context(temporary(self._engine, name, config))
            yield name, await watched(self._run(name, progress), self._watch(name))
            # Removing it takes time and CPU that no start waits for.
            self._removals.start(_close(stack.pop_all(), after=step.remove_after))

    async def wait_closed(self) -> None:
        """Wait until the containers of all steps that have ended are removed."""
        await self._removals.wait()

    async def _run(self, container: str, progress: Progress) -> list[str]:
        async def report(text: str) -> None:
            for line in text.splitlines():
                if line.startswith(_REPORTED):
                    await progress(line[:120], None)

        settings = self._settings
        try:
            ended = await run(
                self._engine,
                container,
                seconds=settings.build_timeout_seconds,
                output_limit=settings.build_output_limit,
                on_output=report,
            )
        except OutputExceeded as error:
            raise build_errors.output_exceeded(settings, error.lines) from error
        if ended.code:
            message = f"installing the packages returned a non-zero code: {ended.code}"
            raise BuildError(message, ended.lines, exit_code=ended.code, out_of_memory=ended.out_of_memory)
        return ended.lines

    async def _watch(self, container: str) -> Never:
        while True:
            await asyncio.sleep(_DISK_INTERVAL)
            await self._disk.check()
            await self.check_size(container)

    async def check_size(self, container: str) -> None:
        """Check what a container has written.

        Raises:
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
        """
        limit = self._settings.max_image_size
        if await bytes_written(self._engine, container, enough=limit) > limit:
            raise Rejected(
                Code.BUILD_LIMIT_EXCEEDED,
                f"The packages take more than {format_size(limit)}.",
                hint="Leave some out, or ask the operator to raise MAX_IMAGE_SIZE.",
                details={"limit": "disk", "limit_bytes": limit},
            )


async def _close(stack: AsyncExitStack, *, after: float) -> None:
    await asyncio.sleep(after)
    await stack.aclose()
