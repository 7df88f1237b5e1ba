"""Builds in a cage: what a build may use, and that nothing of one that failed is left."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Never

from bot_runner_worker.aio import watched
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, builds
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images.build_steps import BuildSteps
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.model.progress import Progress
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.networks.builds import BuildNetwork
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

_DISK_INTERVAL = 1.0
_KILL_INTERVAL = 0.1

_LAST_WORD_SECONDS = 20.0
"""How long a build that was given up is listened to: a step that runs nothing cannot be killed."""


class BuildSandbox:
    """Runs builds within the operator's limits.

    Memory, CPU and the size of a file are limited by the Engine from the start. The number of processes is
    not among a build's parameters: each step's container is given its limit as soon as the builder tells of
    it, some milliseconds after its start. What a step writes, and the room that is left, are watched.

    Args:
        engine: The Engine.
        settings: Limits and names.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._network = BuildNetwork(engine, settings)
        self._disk = EngineDisk(engine, settings)
        self._running = 0
        self._half_built: dict[str, None] = {}

    async def build(
        self,
        *,
        tag: str,
        tar: AsyncIterator[bytes],
        dockerfile: str,
        arguments: Mapping[str, str],
        progress: Progress,
    ) -> None:
        """Build an image, or leave nothing behind.

        Args:
            tag: Reference for the result.
            tar: The build context.
            dockerfile: Path of the Dockerfile inside it.
            arguments: Build arguments.
            progress: Told of each step.

        Raises:
            BuildError: If the build fails by itself; :class:`EndlessOutput` if it was ended for its output.
            EngineError: If the Engine does not take it.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        settings = self._settings
        await self._disk.check()
        network = await self._network.ensure()
        steps = BuildSteps(self._engine, settings)
        trace = builds.BuildTrace(steps.limit_processes)
        building = asyncio.create_task(
            builds.build(
                self._engine,
                tag=tag,
                tar=tar,
                dockerfile=dockerfile,
                network=network,
                arguments=arguments,
                limits=builds.BuildLimits(
                    memory=settings.build_memory_limit,
                    cpu=settings.build_cpu_limit,
                    file_size=steps.file_size,
                    output=settings.build_output_limit,
                ),
                trace=trace,
                progress=progress,
            )
        )
        self._running += 1
        try:
            async with asyncio.timeout(settings.build_timeout_seconds):
                await watched(_outcome(building), self._watch(steps, trace))
        except BaseException:
            await asyncio.shield(self._give_up(building, steps, trace, tag))
            raise
        finally:
            self._running -= 1
            await asyncio.shield(self._remove_half_built())

    async def _watch(self, steps: BuildSteps, trace: builds.BuildTrace) -> Never:
        limit = self._settings.max_image_size
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_DISK_INTERVAL):
                    await trace.too_long.wait()
            if trace.too_long.is_set():
                # The builder fails with what it had printed until then.
                await steps.kill()
                await asyncio.sleep(_KILL_INTERVAL)
                continue
            await self._disk.check()
            if await steps.written() > limit:
                raise Rejected(
                    Code.BUILD_LIMIT_EXCEEDED,
                    f"A step of the build wrote more than {format_size(limit)} and was ended.",
                    hint="Make the image smaller, or ask the operator to raise MAX_IMAGE_SIZE.",
                    details={"limit": "disk", "limit_bytes": limit},
                )

    async def _give_up(
        self, building: asyncio.Task[None], steps: BuildSteps, trace: builds.BuildTrace, tag: str
    ) -> None:
        """End a build, and note what it has made."""
        trace.given_up = True
        try:
            # Before that nothing is made.
            if trace.begun:
                await _hear_out(building, steps)
        except ENGINE_TROUBLE as error:
            logger.warning("a step of a build could not be ended: %s", error)
        building.cancel()
        await asyncio.wait([building])
        self._half_built |= dict.fromkeys(trace.images)
        try:
            # It may have come to its end after all. By now the tag may be another worker's.
            result = await engine_images.inspect(self._engine, tag)
            if result is not None and trace.images and result.id.startswith(f"sha256:{trace.images[-1]}"):
                await engine_images.remove(self._engine, tag)
        except ENGINE_TROUBLE as error:
            logger.warning("the result of a build that was given up could not be removed: %s", error)

    async def _remove_half_built(self) -> None:
        """Remove the images of builds that failed, if no other build may be standing on one of them."""
        if self._running:
            return
        found, self._half_built = list(self._half_built), {}
        namespace = self._settings.runner_namespace
        try:
            for short_id in reversed(found):
                image = await engine_images.inspect(self._engine, short_id)
                if image is not None and not image.tags and image.labels.get(NAMESPACE) == namespace:
                    await engine_images.remove(self._engine, image.id)
        except ENGINE_TROUBLE as error:
            logger.warning("a build could not be tidied up, the sweep will do it: %s", error)


async def _outcome(building: asyncio.Task[None]) -> None:
    # Shielded: a build is not ended by no longer listening to it.
    await asyncio.shield(building)


async def _hear_out(building: asyncio.Task[None], steps: BuildSteps) -> None:
    """Kill a build's steps until the builder has said its last word.

    Closing the connection would end the build as well. But the step that it is at may still become an image
    after that, of which nobody is told.
    """
    deadline = asyncio.get_running_loop().time() + _LAST_WORD_SECONDS
    while not building.done() and asyncio.get_running_loop().time() < deadline:
        await steps.kill()
        await asyncio.wait([building], timeout=_KILL_INTERVAL)
