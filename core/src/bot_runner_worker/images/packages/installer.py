"""Makes images of packages: wheels first, source builds where there is no wheel, bytecode afterwards."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from bot_runner_worker.aio import BackgroundTasks
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images.base import silent
from bot_runner_worker.images.packages import commands
from bot_runner_worker.images.packages.container import START_DELAY, InstallContainers, InstallStep
from bot_runner_worker.images.packages.volumes import PackageVolumes
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.identity import BUILD_ROLE, CONTENT, NAMESPACE, ROLE
from bot_runner_worker.model.image import Image, Progress
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

Making = Callable[[], AbstractAsyncContextManager[None]]
"""A context in which images and containers of builds are not taken for left over."""

PLAIN = "-plain"
"""Suffix of the tag of an image without bytecode, once it is replaced: bots may run from it."""

_NO_CONNECTION = re.compile(r"client error \(Connect\)|invalid peer certificate|error sending request")
_UNSATISFIABLE = re.compile(r"No solution found")
_NO_WHEEL = re.compile(r"no (usable |compatible )?wheels?\b|building (from )?source|no-build|--only-binary")


class PackageInstaller:
    """Makes images of packages.

    Args:
        engine: The Engine.
        settings: Limits of builds.
        networks: Has one for each step.
        making: Entered for work in the background.
    """

    def __init__(
        self, engine: Engine, settings: Settings, networks: PrewarmedNetworks, making: Making = nullcontext
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._making = making
        self._steps = InstallContainers(engine, settings, networks)
        self._volumes = PackageVolumes(engine, settings, self._steps)
        self._finishing = BackgroundTasks()

    async def close(self) -> None:
        """Cancel the work in the background, and remove its containers."""
        await self._finishing.cancel()
        await self._steps.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the work in the background is done."""
        await self._finishing.wait()
        await self._steps.wait_closed()

    async def prepare(self, base: Image) -> None:
        """Fetch uv before the first start needs it.

        Args:
            base: The base image.

        Raises:
            EngineError: If the Engine refuses something.
            Unavailable: If the Engine does not answer.
        """
        await self._volumes.are_ready(base)

    async def install(
        self, base: Image, requirements: Sequence[str], reference: str, progress: Progress
    ) -> bool:
        """Install packages into a base image, and tag the result.

        Args:
            base: The base image.
            requirements: From :func:`~bot_runner_worker.model.requirements.check_requirements`.
            reference: Tag of the new image.
            progress: Told of uv's progress.

        Returns:
            False if uv does not work here; then a build with pip is the way.

        Raises:
            BuildError: If a requirement cannot be installed.
            EngineError: If the Engine refuses something.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Unavailable: ``ENGINE_DISK_FULL``, or if the Engine does not answer.
        """
        if not await self._volumes.are_ready(base):
            return False
        install = partial(self._install, base, requirements, reference, progress)
        try:
            await self._install_wheels(install)
        except BuildError as error:
            output = "\n".join(error.log)
            if commands.is_missing(output):
                # Somebody removed its volume, and the Engine has made an empty one.
                await self._volumes.discard_uv(base)
                return await self.install(base, requirements, reference, progress)
            if _NO_CONNECTION.search(output):
                # uv is stricter about certificates than pip.
                return False
            if not _NO_WHEEL.search(output):
                raise
            await progress("a package has no wheel: building it from its source", None)
            await install(commands.WITH_BUILDS)
        self._finishing.start(self._finish(base, reference))
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
        progress: Progress,
        how: Sequence[str],
    ) -> None:
        wheels_only = how != commands.WITH_BUILDS
        settings = self._settings
        # Building a package from its source runs its code: that sees what bots see, in the base image.
        environment = settings.installer_environment() if wheels_only else {}
        cache = {commands.CACHE_FOLDER: self._volumes.cache} if wheels_only else {}
        step = InstallStep(
            image=base.id,
            command=commands.install(requirements, how, environment),
            online=True,
            volumes={commands.UV_FOLDER: self._volumes.uv(base), **cache},
            writable=frozenset(cache),
            cpu=await self._cpu() if wheels_only else None,
            remove_after=START_DELAY,
        )
        async with self._steps.run(step, progress) as (container, _):
            if not wheels_only:
                # Files of holes are made in no time, and the Engine fills them when it commits.
                await self._steps.check_size(container)
            await self._commit(container, reference, base.id, reference)

    async def _cpu(self) -> float:
        # No code of a tenant's choice runs while wheels are installed, and a bot is waiting for them.
        settings = self._settings
        return max(settings.build_cpu_limit, min(settings.start_burst_cpu, float(await self._engine.cpus())))

    async def _commit(self, container: str, reference: str, image: str, content: str) -> None:
        config = await engine_images.config(self._engine, image)
        labels = {NAMESPACE: self._settings.runner_namespace, ROLE: BUILD_ROLE, CONTENT: content}
        config["Labels"] = (config.get("Labels") or {}) | labels
        await containers.commit(self._engine, container, config, reference=reference)

    async def _finish(self, base: Image, reference: str) -> None:
        """Compile the bytecode of an image that is already in use."""
        await asyncio.sleep(START_DELAY)
        try:
            async with self._making():
                plain = await engine_images.inspect(self._engine, reference)
                if plain is not None:
                    await self._compile(plain, reference)
                await self._volumes.limit_cache(base)
        except (*ENGINE_TROUBLE, BuildError, BotRunnerError, TimeoutError) as error:
            # Bots start all the same, only more slowly.
            logger.warning("the bytecode of %s was not compiled: %s", reference, error)

    async def _compile(self, plain: Image, reference: str) -> None:
        step = InstallStep(
            image=plain.id,
            command=commands.compile_bytecode(),
            # Bots that start at this moment come first.
            cpu_shares=128,
        )
        async with self._steps.run(step, silent) as (container, _):
            await engine_images.tag(self._engine, plain.id, reference + PLAIN)
            await self._commit(container, reference, plain.id, reference)
