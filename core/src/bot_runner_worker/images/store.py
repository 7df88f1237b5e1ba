"""The content-addressed image store: same content, no build; two identical builds at once are done once."""

import asyncio
import hashlib
from dataclasses import replace
from weakref import WeakValueDictionary

from bot_runner_worker.engine import Engine, EngineError
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.errors import Code, Rejected, Unavailable
from bot_runner_worker.identity import NAMESPACE, ROLE
from bot_runner_worker.images.base import network_context, ready_base_image
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.image import Image
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.settings import Settings

FORMAT = "1"
"""Part of each image's key: raise it when the way of building changes what comes out."""


class ImageStore:
    """Builds images, and finds them again by their content.

    Args:
        engine: Where the images are.
        settings: Namespace, base image and limits of builds.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._building: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def base(self) -> Image:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.base`."""
        base = await ready_base_image(self._engine, self._settings)
        context = network_context(base, self._settings)
        if context is None:
            return base
        try:
            image = await self._ensure(context, tenant="", report=_silent)
        finally:
            context.close()
        return replace(image, reference=self._settings.base_image)

    async def build(self, context: BuildContext, tools: Tools) -> Image:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.build`.

        Raises:
            Rejected: ``BUILD_FAILED`` or ``BUILD_TIMED_OUT`` with the last lines of the build's output.
        """
        return await self._ensure(context, tenant=tools.tenant, report=tools.progress)

    def reference(self, context: BuildContext, tenant: str) -> str:
        """The tag of a build context's image."""
        # An image that one tenant's Dockerfile made may hold what that tenant alone could fetch.
        owner = "" if context.shared else tenant
        key = hashlib.sha256("\0".join((FORMAT, context.digest, owner)).encode()).hexdigest()
        return f"bot-runner/{self._settings.runner_namespace}:{key[:40]}"

    async def _ensure(self, context: BuildContext, tenant: str, report: engine_images.Progress) -> Image:
        reference = self.reference(context, tenant)
        lock = self._building.setdefault(reference, asyncio.Lock())
        async with lock:
            image = await engine_images.inspect(self._engine, reference)
            if image is None:
                await self._build(reference, context, report)
                image = await engine_images.inspect(self._engine, reference)
        if image is None:
            raise Unavailable(
                Code.ENGINE_FAILED,
                "The image was gone right after it was built.",
                hint="Try again.",
            )
        return image

    async def _build(self, reference: str, context: BuildContext, report: engine_images.Progress) -> None:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.build_timeout_seconds):
                await engine_images.build(
                    self._engine,
                    tag=reference,
                    tar=context.chunks(),
                    dockerfile=context.dockerfile,
                    labels={NAMESPACE: settings.runner_namespace, ROLE: "image"},
                    limits=engine_images.BuildLimits(settings.build_memory_limit, settings.build_cpu_limit),
                    arguments=_proxy_arguments(settings),
                    progress=report,
                )
        except engine_images.BuildError as error:
            raise Rejected(
                Code.BUILD_FAILED,
                f"The build failed: {error.message[:500]}",
                hint=_build_hint(error),
                details={"log": error.log},
            ) from error
        except TimeoutError as error:
            raise Rejected(
                Code.BUILD_TIMED_OUT,
                f"The build took longer than {settings.build_timeout_seconds} seconds and was ended.",
                hint="Make the build smaller, or ask the operator for a larger BUILD_TIMEOUT_SECONDS.",
            ) from error
        except EngineError as error:
            if error.status >= 500 and "dockerfile" not in error.message.lower():
                raise Unavailable(
                    Code.ENGINE_FAILED,
                    "The Docker Engine failed to build.",
                    hint="Try again later.",
                    details={"reason": error.message[:500]},
                ) from error
            raise Rejected(
                Code.BUILD_FAILED,
                f"The Dockerfile was refused: {error.message[:500]}",
                hint="Correct the Dockerfile.",
            ) from error


async def _silent(message: str, fraction: float | None) -> None:
    pass


def _proxy_arguments(settings: Settings) -> dict[str, str]:
    # Predefined build arguments: known to each Dockerfile without ARG, and kept out of the image's history.
    values = {name: getattr(settings, name) for name in ("http_proxy", "https_proxy", "no_proxy")}
    return {
        spelled: value
        for name, value in values.items()
        if value is not None
        for spelled in (name, name.upper())
    }


def _build_hint(error: engine_images.BuildError) -> str:
    output = "\n".join(error.log)
    if "No matching distribution found" in output or "Could not find a version" in output:
        return "Check the names and versions in the requirements; the last line of the log names the one."
    if "returned a non-zero code: 137" in error.message:
        return "The build ran out of memory; ask the operator for a larger BUILD_MEMORY_LIMIT."
    return "The last lines of the build's output are in details.log."
