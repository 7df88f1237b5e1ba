"""Builds in a sandbox, which limits them and removes what a failed one leaves."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Never

from bot_runner_worker.aio import run_to_completion, watched
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.dockerfile import ParsedDockerfile
from bot_runner_worker.images.steps import BuildSteps
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.model.image import Progress
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

_DISK_INTERVAL = 1.0


class BuildSandbox:
    """Runs builds within the operator's limits.

    Args:
        engine: The Engine.
        settings: Limits and names.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._disk = EngineDisk(engine, settings)
        self._running = 0
        self._half_built: dict[str, None] = {}

    async def build(
        self,
        *,
        tag: str,
        context: BuildContext,
        dockerfile: ParsedDockerfile,
        network: str,
        arguments: Mapping[str, str],
        progress: Progress,
    ) -> None:
        """Build an image, or leave nothing behind.

        Args:
            tag: Reference for the result.
            context: The build context.
            dockerfile: What is built, in place of the context's own Dockerfile.
            network: Name of its network, where it is alone.
            arguments: Build arguments that need no ``ARG``.
            progress: Called at each step.

        Raises:
            BuildError: If the build fails by itself.
            EngineError: If the Engine refuses the build.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        await self._disk.check()
        steps = BuildSteps(self._engine, self._settings, context, dockerfile, network, arguments, progress)
        self._running += 1
        try:
            async with asyncio.timeout(self._settings.build_timeout_seconds):
                image = await watched(steps.run(), self._watch(steps))
            await run_to_completion(engine_images.tag(self._engine, image, tag))
        except BaseException:
            self._half_built |= dict.fromkeys(steps.images)
            raise
        finally:
            self._running -= 1
            await asyncio.shield(self._remove_half_built())

    async def _watch(self, steps: BuildSteps) -> Never:
        while True:
            await asyncio.sleep(_DISK_INTERVAL)
            await self._disk.check()
            await steps.check_size()

    async def _remove_half_built(self) -> None:
        """Remove the images of failed builds, unless another build may use one of them."""
        if self._running:
            return
        found, self._half_built = list(self._half_built), {}
        namespace = self._settings.runner_namespace
        try:
            for each in reversed(found):
                image = await engine_images.inspect(self._engine, each)
                if image is not None and not image.tags and image.labels.get(NAMESPACE) == namespace:
                    await engine_images.remove(self._engine, image.id)
        except ENGINE_TROUBLE as error:
            logger.warning("images of a failed build are left to the sweep: %s", error)
