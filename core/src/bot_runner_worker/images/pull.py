"""Images of other people's making: from a registry, or of those that the operator offers from the Engine."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Never

from bot_runner_worker.aio import watched
from bot_runner_worker.engine import Engine, EngineError, registries
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images import pull_errors
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.policy import check_image, too_large
from bot_runner_worker.images.uses import ImageUses
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.progress import Progress
from bot_runner_worker.model.references import ImageReference, RegistryAuth
from bot_runner_worker.outbound import OutboundPolicy
from bot_runner_worker.settings import Settings

_DISK_INTERVAL = 0.5


class ImagePuller:
    """Makes an image ready that a tenant names.

    The Engine is shared, so nothing is taken from it by name: the registry is asked each time, with the
    tenant's own credentials or none, and the image of the digest that it answers is run by its id. Whoever
    may not pull an image cannot use the copy that somebody else's pull has left behind.

    Args:
        engine: Pulls, and keeps the images.
        settings: Rules and limits.
        base: Makes the operator's base image ready.
        tag: The tag under which an image is filed for this runner, by its digest.
        uses: Told of each image's use.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        base: Callable[[], Awaitable[Image]],
        tag: Callable[[str], str],
        uses: ImageUses,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._base = base
        self._tag = tag
        self._uses = uses
        self._disk = EngineDisk(engine, settings)

    async def obtain(self, reference: ImageReference, auth: RegistryAuth | None, report: Progress) -> Image:
        """Make an image ready.

        Args:
            reference: What the tenant wrote.
            auth: The tenant's credentials, sent to this reference's registry only.
            report: Told of the pull's progress.

        Raises:
            Rejected: ``REGISTRY_DENIED``, ``ADDRESS_DENIED``, ``IMAGE_NOT_FOUND``, ``IMAGE_ACCESS_DENIED``,
                ``REGISTRY_AUTH_FAILED``, ``PLATFORM_MISMATCH``, ``IMAGE_TOO_LARGE`` …
            Unavailable: ``REGISTRY_RATE_LIMITED``, ``REGISTRY_UNAVAILABLE``, ``ENGINE_DISK_FULL`` …
        """
        image = await self._local(reference)
        if image is None:
            await OutboundPolicy(self._settings).check_registry(reference.registry)
            try:
                async with asyncio.timeout(self._settings.pull_timeout_seconds):
                    image = await self._from_registry(reference, auth, report)
            except EngineError as error:
                raise pull_errors.of_engine(error, reference, with_credentials=auth is not None) from error
            except TimeoutError as error:
                raise Rejected(
                    Code.IMAGE_PULL_TIMED_OUT,
                    f"Pulling {reference.familiar} took longer than {self._settings.pull_timeout_seconds} s.",
                    hint="Use a smaller image, or ask the operator for a larger PULL_TIMEOUT_SECONDS.",
                ) from error
        return image

    async def _local(self, reference: ImageReference) -> Image | None:
        """The image, if the operator offers it from the Engine and the Engine has it."""
        if _same(self._settings.base_image, reference):
            return await self._base()
        names = (str(reference), reference.familiar)
        offered = self._settings.local_images_allowed
        if any(fnmatchcase(name, pattern) for name in names for pattern in offered):
            return await engine_images.inspect(self._engine, str(reference))
        return None

    async def _from_registry(
        self, reference: ImageReference, auth: RegistryAuth | None, report: Progress
    ) -> Image:
        headers = auth.headers(reference.registry) if auth is not None else {}
        await report(f"asking {reference.registry} for {reference.familiar}", None)
        remote = await registries.describe(self._engine, str(reference), headers)
        platform = await self._engine.platform()
        if remote.platforms and platform not in remote.platforms:
            raise pull_errors.platform_mismatch(reference, platform, remote.platforms)
        # By digest from here on: the tag may move between two questions.
        pinned = f"{reference.repository}@{remote.digest}"
        image = await engine_images.inspect(self._engine, pinned)
        self._uses.count(image is not None)
        if image is None:
            await self._pull(reference, remote.digest, headers, report)
            image = await engine_images.inspect(self._engine, pinned)
        if image is None:
            raise EngineError(0, "the pull ended without an image")
        await self._check(reference, image, platform)
        own = self._tag(pinned)
        if own not in image.tags:
            await engine_images.tag(self._engine, image.id, own)
            image = replace(image, tags=(*image.tags, own))
        self._uses.note(image)
        return replace(image, reference=replace(reference, digest=remote.digest).familiar)

    async def _pull(
        self, reference: ImageReference, digest: str, headers: dict[str, str], report: Progress
    ) -> None:
        limit = self._settings.max_image_size
        await self._disk.check()
        work = registries.pull(
            self._engine,
            reference.repository,
            digest,
            headers=headers,
            max_size=limit,
            progress=report,
        )
        try:
            await watched(work, self._watch_disk())
        except registries.TooLarge as error:
            raise too_large(reference.familiar, limit) from error

    async def _watch_disk(self) -> Never:
        while True:
            await asyncio.sleep(_DISK_INTERVAL)
            await self._disk.check()

    async def _check(self, reference: ImageReference, image: Image, platform: str) -> None:
        """Hold the image itself against the limits: what a registry says beforehand need not be true."""
        try:
            if image.platform != platform:
                raise pull_errors.platform_mismatch(reference, platform, (image.platform,))
            check_image(image, reference.familiar, self._settings.max_image_size)
        except Rejected:
            await engine_images.remove(self._engine, image.reference)
            raise


def _same(base_image: str, reference: ImageReference) -> bool:
    try:
        return ImageReference.parse(base_image) == reference
    except Rejected:  # an operator may name it by its id
        return False
