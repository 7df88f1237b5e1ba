"""Third-party images, pulled from a registry or offered by the operator."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Never

from bot_runner_worker.aio import watched
from bot_runner_worker.engine import Engine, EngineError, registries
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.messages import shown
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.gc import ImageUsage
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable, disk_full
from bot_runner_worker.model.image import Image, ImageReference, Progress, RegistryAuth
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.outbound import OutboundPolicy
from bot_runner_worker.settings import Settings

_DISK_INTERVAL = 0.5

MAX_VOLUMES = 32
_VOLUME = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+/?")
_SYSTEM_FOLDERS = ("proc", "sys", "dev")

# Patterns for messages of the Engine (distribution/errors.go, registry/auth.go) and of registries (the codes
# of the distribution specification). The status alone says little: a refused login may come as 401, 403, 404
# or 500. The first match wins.
_RATE_LIMITED = re.compile(r"toomanyrequests|too many requests|\b429\b", re.IGNORECASE)
_DENIED = re.compile(
    r"unauthorized|no basic auth credentials|denied|authentication required|incorrect username or password"
    r"|\b40[13]\b",
    re.IGNORECASE,
)
_MISSING = re.compile(r"manifest unknown|name unknown|name_unknown|not found|\b404\b", re.IGNORECASE)
_PLATFORM = re.compile(r"no matching manifest for|does not match the specified platform", re.IGNORECASE)
_CERTIFICATE = re.compile(r"x509|certificate|server gave HTTP response to HTTPS client", re.IGNORECASE)
_NOT_AN_IMAGE = re.compile(
    r"unsupported|mediatype|not supported|invalid manifest|unknown blob", re.IGNORECASE
)


class ImagePuller:
    """Pulls the images that tenants name.

    The Engine is shared, so no image is used by its name alone: the registry is asked each time, with the
    tenant's own credentials or none, and the image of the digest in its answer is used by its id. So a
    tenant who may not pull an image cannot use the copy that another tenant's pull has left.

    Args:
        engine: Pulls and keeps the images.
        settings: Rules and limits.
        base: Returns the operator's base image.
        tag: Returns this runner's own tag for a reference by digest.
        usage: Records each image's use.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        base: Callable[[], Awaitable[Image]],
        tag: Callable[[str], str],
        usage: ImageUsage,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._base = base
        self._tag = tag
        self._usage = usage
        self._disk = EngineDisk(engine, settings)

    async def obtain(self, reference: ImageReference, auth: RegistryAuth | None, report: Progress) -> Image:
        """Return an image, and pull it if the Engine does not have it.

        Args:
            reference: What the tenant wrote.
            auth: The tenant's credentials, sent to this reference's registry only.
            report: Called with the pull's progress.

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
                raise pull_error(error, reference, with_credentials=auth is not None) from error
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
            raise _platform_mismatch(reference, platform, remote.platforms)
        # By digest from here on: the tag may move between two requests.
        pinned = f"{reference.repository}@{remote.digest}"
        image = await engine_images.inspect(self._engine, pinned)
        self._usage.count(image is not None)
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
        self._usage.record(image)
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
            raise _too_large(reference.familiar, limit) from error

    async def _watch_disk(self) -> Never:
        while True:
            await asyncio.sleep(_DISK_INTERVAL)
            await self._disk.check()

    async def _check(self, reference: ImageReference, image: Image, platform: str) -> None:
        """Check the image itself, since what a registry said about it need not be true."""
        try:
            if image.platform != platform:
                raise _platform_mismatch(reference, platform, (image.platform,))
            check_image(image, reference.familiar, self._settings.max_image_size)
        except Rejected:
            await engine_images.remove(self._engine, image.reference)
            raise


def _same(base_image: str, reference: ImageReference) -> bool:
    try:
        return ImageReference.parse(base_image) == reference
    except Rejected:  # an operator may name it by its id
        return False


def check_image(image: Image, name: str, max_size: int) -> None:
    """Check the limits for third-party images.

    Args:
        image: The image on the Engine.
        name: What the tenant calls it.
        max_size: Bytes of all its layers.

    Raises:
        Rejected: ``IMAGE_TOO_LARGE``, or ``IMAGE_REFUSED`` for volumes that are not allowed: each becomes a
            file system in memory at its path.
    """
    if image.size > max_size:
        raise _too_large(name, max_size)
    if len(image.volumes) > MAX_VOLUMES or not all(map(_is_allowed_volume, image.volumes)):
        raise Rejected(
            Code.IMAGE_REFUSED,
            f"The image {name} declares volumes that it cannot have.",
            hint=f"Declare at most {MAX_VOLUMES} volumes, absolute paths outside /proc, /sys and /dev.",
            details={"image": name, "volumes": [path[:200] for path in image.volumes[:MAX_VOLUMES]]},
        )


def _is_allowed_volume(path: str) -> bool:
    return _VOLUME.fullmatch(path) is not None and path.split("/")[1] not in _SYSTEM_FOLDERS


def _too_large(name: str, max_size: int) -> Rejected:
    return Rejected(
        Code.IMAGE_TOO_LARGE,
        f"The image {name} is larger than {format_size(max_size)}.",
        hint="Use a smaller image, or ask the operator to raise MAX_IMAGE_SIZE.",
        details={"image": name, "limit_bytes": max_size},
    )


def pull_error(error: EngineError, reference: ImageReference, *, with_credentials: bool) -> BotRunnerError:
    """The error of a failed pull, or of a failed question to a registry.

    Args:
        error: The Engine's error.
        reference: What was asked for.
        with_credentials: Whether the request brought some.
    """
    name = reference.familiar
    details = {"image": name, "reason": shown(error.message)}
    if error.disk_full:
        return disk_full()
    words = _without_names(error.message, reference)
    if _RATE_LIMITED.search(words):
        return Unavailable(
            Code.REGISTRY_RATE_LIMITED,
            f"The registry {reference.registry} lets no more pulls through for now.",
            hint="Try again later; with an account (registry_auth) the limits are higher.",
            details=details,
        )
    if _PLATFORM.search(words):
        return _platform_mismatch(reference, "this machine")
    if _DENIED.search(words):
        return _denied(reference, with_credentials, details)
    if _MISSING.search(words) and "dial tcp" not in words and "lookup" not in words:
        return Rejected(
            Code.IMAGE_NOT_FOUND,
            f"There is no image {name}.",
            hint="Check the name and the tag; a private image also needs registry_auth.",
            details=details,
        )
    if _CERTIFICATE.search(words):
        return Rejected(
            Code.REGISTRY_CERTIFICATE_REFUSED,
            f"The certificate of the registry {reference.registry} is not trusted by the Engine.",
            hint="Use a registry with a public certificate, or ask the operator to make the Engine trust it.",
            details=details,
        )
    if _NOT_AN_IMAGE.search(words):
        return Rejected(
            Code.IMAGE_PULL_FAILED,
            f"{name} is not a container image that the Engine can run.",
            hint="Check the name; the registry's answer is in details.reason.",
            details=details,
        )
    return Unavailable(
        Code.REGISTRY_UNAVAILABLE,
        f"The registry {reference.registry} cannot be reached, or fails.",
        hint="Try again later.",
        details=details,
    )


def _without_names(message: str, reference: ImageReference) -> str:
    """A message without addresses and the image's name: an image may be called "denied", or have tag 429."""
    path = re.escape(reference.path.removeprefix("library/"))
    return re.sub(rf"https?://\S+|\S*{path}[:@]\S+", " ", message)


def _denied(reference: ImageReference, with_credentials: bool, details: dict[str, str]) -> Rejected:
    if with_credentials:
        return Rejected(
            Code.REGISTRY_AUTH_FAILED,
            f"The registry {reference.registry} does not accept the credentials for {reference.familiar}.",
            hint="Check registry_auth, and that this account may pull the image.",
            details=details,
        )
    return Rejected(
        Code.IMAGE_ACCESS_DENIED,
        f"The image {reference.familiar} is private, or does not exist.",
        hint="Check the name; a private image needs registry_auth with username and password.",
        details=details,
    )


def _platform_mismatch(reference: ImageReference, platform: str, offered: tuple[str, ...] = ()) -> Rejected:
    return Rejected(
        Code.PLATFORM_MISMATCH,
        f"The image {reference.familiar} is not made for {platform}.",
        hint=f"Build it for this platform: docker build --platform {platform}."
        if "/" in platform
        else "Build the image for this machine's platform.",
        details={"image": reference.familiar, "platform": platform, "offered": list(offered)},
    )
