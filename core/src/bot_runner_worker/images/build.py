"""Builds in a sandbox, which limits them and removes what a failed one leaves."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Never

from bot_runner_worker.aio import watched
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, builds, containers, events
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images.build_errors import KILLED
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.model.image import Progress
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

_DISK_INTERVAL = 1.0
_KILL_INTERVAL = 0.1

_DRAIN_SECONDS = 20.0
"""How long the output of a cancelled build is read: a step that runs nothing cannot be killed."""

_MARKS = 64 * 1024
_UPDATE_ATTEMPTS = 5


class BuildSandbox:
    """Runs builds within the operator's limits.

    The Engine limits memory, CPU and the size of a file from the start. The number of processes is not among
    a build's parameters: each step's container is given its limit as soon as the builder reports it, some
    milliseconds after its start. What all steps write, and the room that is left, are watched.

    Not held: files of holes. A step makes any number of them in no time; when it is over, the Engine makes
    an image of it at once, fills them, and cannot be stopped. The build is refused, but the disk may be full.

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
        tar: AsyncIterator[bytes],
        dockerfile: str,
        network: str,
        arguments: Mapping[str, str],
        progress: Progress,
    ) -> None:
        """Build an image, or leave nothing behind.

        Args:
            tag: Reference for the result.
            tar: The build context.
            dockerfile: Path of the Dockerfile inside it.
            network: Name of its network, where it is alone.
            arguments: Build arguments.
            progress: Called at each step.

        Raises:
            BuildError: If the build fails by itself; :class:`EndlessOutput` if it was ended for its output.
            EngineError: If the Engine refuses the build.
            TimeoutError: After ``BUILD_TIMEOUT_SECONDS``.
            Rejected: ``BUILD_LIMIT_EXCEEDED``.
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        settings = self._settings
        await self._disk.check()
        steps = StepContainers(self._engine, settings)
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
                await watched(_result(building), self._watch(steps, trace))
        except BaseException as error:
            await asyncio.shield(self._cancel(building, steps, trace, tag))
            if isinstance(error, builds.BuildError) and error.exit_code == KILLED:
                error.out_of_memory = await steps.out_of_memory()
            raise
        finally:
            self._running -= 1
            await asyncio.shield(self._remove_half_built())

    async def _watch(self, steps: "StepContainers", trace: builds.BuildTrace) -> Never:
        limit = self._settings.max_image_size
        layers: dict[str, int] = {}
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
            for image in trace.images.keys() - layers.keys():
                layers[image] = await engine_images.layer_size(self._engine, image, steps.labels)
            if sum(layers.values()) + await steps.written() > limit:
                raise Rejected(
                    Code.BUILD_LIMIT_EXCEEDED,
                    f"The steps of the build wrote more than {format_size(limit)} in all, and it was ended.",
                    hint="Make the image smaller, or ask the operator to raise MAX_IMAGE_SIZE.",
                    details={"limit": "disk", "limit_bytes": limit},
                )

    async def _cancel(
        self, building: asyncio.Task[None], steps: "StepContainers", trace: builds.BuildTrace, tag: str
    ) -> None:
        """End a build, and note the images that it has made."""
        trace.cancel()
        try:
            # Before that nothing is made.
            if trace.begun:
                await _drain(building, steps)
        except ENGINE_TROUBLE as error:
            logger.warning("a step of a build could not be ended: %s", error)
        building.cancel()
        await asyncio.wait([building])
        self._half_built |= dict.fromkeys(trace.images)
        try:
            # It may have come to its end after all. By now the tag may be another worker's.
            result = await engine_images.inspect(self._engine, tag)
            last = next(reversed(trace.images), None)
            if result is not None and last and result.id.startswith(f"sha256:{last}"):
                await engine_images.remove(self._engine, tag)
        except ENGINE_TROUBLE as error:
            logger.warning("the result of a cancelled build could not be removed: %s", error)

    async def _remove_half_built(self) -> None:
        """Remove the images of failed builds, unless another build may use one of them."""
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
            logger.warning("images of a failed build are left to the sweep: %s", error)


class StepContainers:
    """The containers of one build's steps: found, limited, measured and killed.

    They can be given no label of their own, or nothing would be cached. A limit of a file's size that is a
    little different for each build tells them apart.

    Args:
        engine: The Engine.
        settings: Limits and namespace.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self.labels: Mapping[str, str] = {NAMESPACE: settings.runner_namespace, ROLE: BUILD_ROLE}
        """What the containers and images of all builds carry."""
        self._reported: set[str] = set()
        self.file_size = settings.max_image_size - secrets.randbelow(_MARKS)
        """Bytes of the largest file: what the build must be given as its limit."""

    async def limit_processes(self, container: str) -> None:
        """Limit the number of a step's processes.

        Args:
            container: Short id, as the builder reports it.

        Raises:
            EngineError: If the Engine refuses repeatedly.
        """
        self._reported.add(container)
        for attempt in range(_UPDATE_ATTEMPTS):
            found = await self._find(container)
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

    async def written(self) -> int:
        """Bytes that the running step has written."""
        sizes = [
            await containers.inspect(self._engine, each["Id"], size=True) or {} for each in await self._all()
        ]
        return sum(int(each.get("SizeRw", 0)) for each in sizes)

    async def kill(self) -> None:
        """Kill the running step, so that the build fails.

        The builder removes its container: two that remove it at once do not wait for each other, and
        whoever comes second believes too early that it is gone.
        """
        for each in await self._all():
            await containers.kill(self._engine, each["Id"])

    async def out_of_memory(self) -> bool | None:
        """Whether a step ran out of memory; ``None`` if the Engine does not say.

        The builder has removed the container by then, but the Engine keeps its last events.
        """
        try:
            ended = await events.recent(self._engine, "oom", self.labels)
        except ENGINE_TROUBLE as error:
            logger.warning("the Engine does not say whether a step ran out of memory: %s", error)
            return None
        return any(event.container[:12] in self._reported for event in ended)

    async def _all(self) -> list[dict[str, Any]]:
        """All containers of this build, reported or not."""
        listed = await containers.list_by_labels(self._engine, self.labels)
        return [found for row in listed if (found := await self._find(row["Id"])) is not None]

    async def _find(self, container: str) -> dict[str, Any] | None:
        """A container, if it is one of this build's: what a RUN prints may name any other."""
        found = await containers.inspect(self._engine, container)
        limits = found["HostConfig"].get("Ulimits") or [] if found is not None else []
        if any(limit["Name"] == "fsize" and limit["Hard"] == self.file_size for limit in limits):
            return found
        return None


async def _result(building: asyncio.Task[None]) -> None:
    # Shielded: a build is not ended by no longer listening to it.
    await asyncio.shield(building)


async def _drain(building: asyncio.Task[None], steps: StepContainers) -> None:
    """Kill a build's steps until the builder ends its output.

    It begins no further step, but the one that it is at may still become an image, whose id is in the output.
    """
    deadline = asyncio.get_running_loop().time() + _DRAIN_SECONDS
    while not building.done() and asyncio.get_running_loop().time() < deadline:
        await steps.kill()
        await asyncio.wait([building], timeout=_KILL_INTERVAL)
