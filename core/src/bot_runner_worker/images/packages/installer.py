"""From requirements to an image: wheels first, source builds where there is no wheel, bytecode afterwards."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images.base import silent
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.packages import commands
from bot_runner_worker.images.packages.container import AFTERWARDS, Work, WorkContainers
from bot_runner_worker.images.packages.volumes import PackageVolumes
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.identity import BUILD_ROLE, CONTENT, NAMESPACE, ROLE
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.progress import Progress
from bot_runner_worker.networks.builds import BuildNetwork
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

Making = Callable[[], AbstractAsyncContextManager[None]]
"""While the context lasts, nobody takes for left over what is being made."""

PLAIN = "-plain"
"""Suffix of the tag of an image whose bytecode was compiled since: bots may have been started from it."""

_NO_CONNECTION = re.compile(r"client error \(Connect\)|invalid peer certificate|error sending request")
_UNSATISFIABLE = re.compile(r"No solution found")
_NO_WHEEL = re.compile(r"no (usable |compatible )?wheels?\b|building (from )?source|no-build|--only-binary")


class PackageInstaller:
    """Makes images of packages.

    Args:
        engine: The Engine.
        settings: Limits of builds.
        making: Entered for what is done when no start waits for it.
    """

    def __init__(self, engine: Engine, settings: Settings, making: Making = nullcontext) -> None:
        self._engine = engine
        self._settings = settings
        self._making = making
        self._network = BuildNetwork(engine, settings)
        self._work = WorkContainers(engine, settings, EngineDisk(engine, settings))
        self._volumes = PackageVolumes(engine, settings, self._work)
        self._afterwards: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End what goes on in the background, and leave nothing of it."""
        for task in self._afterwards:
            task.cancel()
        if self._afterwards:
            await asyncio.wait(set(self._afterwards))
        await self._work.settled()

    async def settled(self) -> None:
        """Wait until what goes on in the background is done."""
        while self._afterwards:
            await asyncio.wait(set(self._afterwards))
        await self._work.settled()

    async def prepare(self, base: Image) -> None:
        """Fetch uv, so that no start waits for it.

        Args:
            base: The base image.

        Raises:
            EngineError: If the Engine refuses something.
            Unavailable: If the Engine does not answer.
        """
        await self._volumes.are_ready(base, await self._network.ensure())

    async def install(
        self, base: Image, requirements: Sequence[str], reference: str, progress: Progress
    ) -> bool:
        """Make an image of a base image and packages.

        Args:
            base: The base image.
            requirements: Checked ones (PEP 508), from the index only.
            reference: Tag of the new image.
            progress: Told how far it is.

        Returns:
            False if uv cannot be had here: pip in a build does it, too.

        Raises:
            BuildError: If a requirement cannot be installed.
            EngineError: If the Engine refuses something.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Unavailable: ``ENGINE_DISK_FULL``, or if the Engine does not answer.
        """
        network = await self._network.ensure()
        if not await self._volumes.are_ready(base, network):
            return False
        install = partial(self._install, base, requirements, reference, network, progress)
        try:
            await self._install_wheels(install)
        except BuildError as error:
            output = "\n".join(error.log)
            if commands.is_missing(output):
                # Its volume was removed behind our back, and the Engine has made an empty one.
                await self._volumes.discard_uv(base)
                return await self.install(base, requirements, reference, progress)
            if _NO_CONNECTION.search(output):
                # uv is stricter about certificates than pip.
                return False
            if not _NO_WHEEL.search(output):
                raise
            await progress("a package has no wheel: building it from its source", None)
            await install(commands.WITH_BUILDS)
        task = asyncio.create_task(self._finish(base, reference))
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)
        return True

    async def _install_wheels(self, install: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        try:
            await install(commands.WHEELS_ONLY)
        except BuildError as error:
            output = "\n".join(error.log)
            if not _UNSATISFIABLE.search(output) or _NO_WHEEL.search(output):
                raise
            # It may have been published since the index was last asked.
            await install(commands.REFRESHED)

    async def _install(
        self,
        base: Image,
        requirements: Sequence[str],
        reference: str,
        network: str,
        progress: Progress,
        how: Sequence[str],
    ) -> None:
        wheels_only = how != commands.WITH_BUILDS
        settings = self._settings
        environment, index = settings.proxy_environment(), settings.package_index_url
        cache = {commands.CACHE_FOLDER: self._volumes.cache} if wheels_only else {}
        work = Work(
            image=base.id,
            command=commands.install(requirements, how, environment, index),
            network=network,
            volumes={commands.UV_FOLDER: self._volumes.uv(base), **cache},
            writable=frozenset(cache),
            cpu=await self._cpu() if wheels_only else None,
            stays=AFTERWARDS,
        )
        async with self._work.done(work, progress) as (container, _):
            await self._commit(container, reference, base.id, reference)

    async def _cpu(self) -> float:
        # No code of a tenant's choice runs while wheels are installed, and a bot is waiting for them.
        settings = self._settings
        return max(settings.build_cpu_limit, min(settings.start_burst_cpu, float(await self._engine.cpus())))

    async def _commit(self, container: str, reference: str, image: str, content: str) -> None:
        labels = {NAMESPACE: self._settings.runner_namespace, ROLE: BUILD_ROLE, CONTENT: content}
        await containers.commit(self._engine, container, reference, image=image, labels=labels)

    async def _finish(self, base: Image, reference: str) -> None:
        """Compile the bytecode of an image that is in use already."""
        await asyncio.sleep(AFTERWARDS)
        try:
            async with self._making():
                plain = await engine_images.inspect(self._engine, reference)
                if plain is not None:
                    await self._compile(plain, reference)
                await self._volumes.tidy(base)
        except (*ENGINE_TROUBLE, BuildError, BotRunnerError, TimeoutError) as error:
            # Bots start all the same, only more slowly.
            logger.warning("the bytecode of %s was not compiled: %s", reference, error)

    async def _compile(self, plain: Image, reference: str) -> None:
        work = Work(
            image=plain.id,
            command=commands.compile_bytecode(),
            # Bots that start at this moment come first.
            cpu_shares=128,
        )
        async with self._work.done(work, silent) as (container, _):
            await engine_images.tag(self._engine, plain.id, reference + PLAIN)
            await self._commit(container, reference, plain.id, reference)
