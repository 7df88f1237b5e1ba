"""Builds in a cage: what a build may use, and that nothing of one that failed is left."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Never

from bot_runner_worker.engine import Engine, EngineError, builds, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.images import Progress
from bot_runner_worker.errors import Code, Rejected, Unavailable
from bot_runner_worker.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.images import build_errors
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.watching import watched
from bot_runner_worker.networks.builds import BuildNetwork
from bot_runner_worker.quantities import format_size
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

_DISK_INTERVAL = 1.0
_REMOVAL_SECONDS = 15.0
_UPDATE_ATTEMPTS = 5
_MARKS = 64 * 1024

_ABSENCES = 3
"""Looks in a row without a step before a build that was given up is over: the Engine may begin another."""


class BuildCage:
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
            BuildError: If the build fails by itself.
            EngineError: If the Engine does not take it.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        settings = self._settings
        await self._disk.check()
        network = await self._network.ensure()
        trace = builds.BuildTrace(self._limit_processes)
        # Containers of a build's steps can be given no label of their own, or nothing would be cached. A
        # limit that is a little different for each build tells them apart.
        file_size = settings.max_image_size - secrets.randbelow(_MARKS)
        work = builds.build(
            self._engine,
            tag=tag,
            tar=tar,
            dockerfile=dockerfile,
            network=network,
            arguments=arguments,
            limits=builds.BuildLimits(
                memory=settings.build_memory_limit,
                cpu=settings.build_cpu_limit,
                file_size=file_size,
                output=settings.build_output_limit,
            ),
            trace=trace,
            progress=progress,
        )
        self._running += 1
        succeeded = False
        try:
            async with asyncio.timeout(settings.build_timeout_seconds):
                await watched(work, self._watch(trace))
            succeeded = True
        except builds.EndlessOutput as error:
            self._half_built |= dict.fromkeys(trace.images)
            raise build_errors.output_exceeded(settings, error.log) from error
        except BaseException:
            self._half_built |= dict.fromkeys(trace.images)
            raise
        finally:
            self._running -= 1
            await asyncio.shield(self._tidy(trace, None if succeeded else file_size))

    async def _limit_processes(self, container: str) -> None:
        for attempt in range(_UPDATE_ATTEMPTS):
            found = await self._step(container)
            if found is None or found["State"]["Status"] == "exited":
                return
            try:
                await containers.set_process_limit(self._engine, container, self._settings.build_pids_limit)
            except EngineError:
                # A step that is ending at this moment refuses in many words, and is gone a moment later.
                if attempt + 1 == _UPDATE_ATTEMPTS:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    async def _step(self, container: str, *, size: bool = False) -> dict[str, Any] | None:
        """The container of a step, while it is there: what a RUN prints may name any other container."""
        found = await containers.inspect(self._engine, container, size=size) if container else None
        if found is None or found["HostConfig"]["NetworkMode"] != self._network.name:
            return None
        return found

    async def _watch(self, trace: builds.BuildTrace) -> Never:
        limit = self._settings.max_image_size
        while True:
            await asyncio.sleep(_DISK_INTERVAL)
            await self._disk.check()
            found = await self._step(trace.container, size=True)
            if found is not None and found.get("SizeRw", 0) > limit:
                raise Rejected(
                    Code.BUILD_LIMIT_EXCEEDED,
                    f"A step of the build wrote more than {format_size(limit)} and was ended.",
                    hint="Make the image smaller, or ask the operator to raise MAX_IMAGE_SIZE.",
                    details={"limit": "disk", "limit_bytes": limit},
                )

    async def _tidy(self, trace: builds.BuildTrace, mark: int | None) -> None:
        """Wait for the last step's container to be gone, and remove the images of builds that failed."""
        try:
            # The Engine may not have told yet of the last container of a build that was given up.
            await self._see_removed(trace, mark)
            # Another build may be standing on one of these images at this moment.
            if self._running == 0:
                found, self._half_built = list(self._half_built), {}
                for image in reversed(found):
                    await self._remove_half_built(image)
        except (EngineError, Unavailable) as error:
            logger.warning("a build could not be tidied up, the sweep will do it: %s", error)

    async def _see_removed(self, trace: builds.BuildTrace, mark: int | None) -> None:
        deadline = asyncio.get_running_loop().time() + _REMOVAL_SECONDS
        absences = 0
        while True:
            if await self._step(trace.container) is None and not await self._has_step(mark):
                absences += 1
                if mark is None or absences == _ABSENCES:
                    return
            elif asyncio.get_running_loop().time() > deadline:
                if await self._step(trace.container) is not None:
                    await containers.remove(self._engine, trace.container)
                return
            else:
                absences = 0
            await asyncio.sleep(0.05)

    async def _has_step(self, mark: int | None) -> bool:
        """Whether the build with this limit of files has a container, of which the Engine need not have told.

        The image that it stands on is noted as half-built.
        """
        if mark is None:
            return False
        mine = {NAMESPACE: self._settings.runner_namespace, ROLE: BUILD_ROLE}
        silent = False
        for row in await containers.list_by_labels(self._engine, mine):
            found = await containers.inspect(self._engine, row["Id"])
            if found is None:
                # It is being created or removed, and says nothing of itself: it may be this build's.
                silent = True
                continue
            limits = found["HostConfig"].get("Ulimits") or []
            if any(limit["Name"] == "fsize" and limit["Hard"] == mark for limit in limits):
                self._half_built[found["Image"].removeprefix("sha256:")[:12]] = None
                return True
        return silent

    async def _remove_half_built(self, short_id: str) -> None:
        image = await engine_images.inspect(self._engine, short_id)
        namespace = self._settings.runner_namespace
        if image is None or image.tags or image.labels.get(NAMESPACE) != namespace:
            return
        await engine_images.remove(self._engine, image.id)
