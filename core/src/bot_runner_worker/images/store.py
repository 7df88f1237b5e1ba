"""The content-addressed image store: the same content is built once."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from weakref import WeakValueDictionary

from bot_runner_worker.aio import FairQueue
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images import build_errors
from bot_runner_worker.images import dockerfile as dockerfiles
from bot_runner_worker.images.base import network_context, ready_base_image, silent
from bot_runner_worker.images.build import BuildSandbox
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.dockerfile import ParsedDockerfile
from bot_runner_worker.images.gc import ImageUsage
from bot_runner_worker.images.packages import Making, PackageInstaller, pip_context
from bot_runner_worker.images.pull import ImagePuller, check_image
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected, Unavailable
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.model.image import (
    Deployment,
    Image,
    ImageReference,
    Progress,
    RegistryAuth,
    own_repository,
)
from bot_runner_worker.model.requirements import check_requirements
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

FORMAT = "2"
"""Part of each image's key: raise it when the way of building changes what comes out."""

_BUILD_ATTEMPTS = 3


class ImageStore:
    """Builds images, and finds them again by their content.

    Two identical builds at the same time are one build.

    Args:
        engine: Keeps the images.
        settings: Namespace, base image and limits of builds.
        making: Entered for what is done when no start waits for it.
        networks: Has one for each build and each installation.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        making: Making = nullcontext,
        networks: PrewarmedNetworks | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._networks = networks or PrewarmedNetworks(engine, settings)
        self._sandbox = BuildSandbox(engine, settings)
        self.usage = ImageUsage(engine, own_repository(settings.runner_namespace))
        self._puller = ImagePuller(
            engine,
            settings,
            base=self.base,
            tag=lambda pinned: self._tag("pulled", pinned),
            usage=self.usage,
        )
        self.packages = PackageInstaller(engine, settings, self._networks, making)
        self._making = making
        slots = settings.max_concurrent_builds
        self._builds = FairQueue(slots, most_of_one=max(1, slots // 2))
        self._building: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        """Cancel what goes on in the background."""
        await self.packages.close()
        await self.usage.close()

    async def base(self) -> Image:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.base`."""
        base = await ready_base_image(self._engine, self._settings)
        context = network_context(base, self._settings)
        if context is None:
            return base
        try:
            image, _ = await self._ensure(context, tenant="", report=silent)
        finally:
            context.close()
        return replace(image, reference=self._settings.base_image)

    async def prepare(self) -> None:
        """Prefetch what the first start with requirements would have to wait for."""
        try:
            async with self._making():
                await self.packages.prepare(await self.base())
        except (*ENGINE_TROUBLE, BotRunnerError) as error:
            logger.warning("nothing is prefetched for the first start: %s", error)

    async def build(self, context: BuildContext, tools: Deployment) -> Image:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.build`.

        Raises:
            Rejected: ``BUILD_FAILED`` with the last lines of the build's output, or the code of what is wrong
                with the Dockerfile or one of its base images.
        """
        image, was_there = await self._ensure(context, tenant=tools.tenant, report=tools.progress)
        self.usage.count(was_there)
        return image

    async def with_packages(self, requirements: Sequence[str], tools: Deployment) -> Image:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.with_packages`.

        Raises:
            Rejected: ``INVALID_REQUIREMENT``, or ``BUILD_FAILED`` with the last lines of the output.
        """
        base = await self.base()
        wanted = check_requirements(requirements)
        reference = self._tag("packages", base.id, *wanted)
        image = await engine_images.inspect(self._engine, reference)
        self.usage.count(image is not None)
        if image is None:
            async with self.usage.in_use([base]):
                image = await self._install(base, wanted, reference, tools)
        self.usage.record(image)
        return image

    async def _install(
        self, base: Image, requirements: list[str], reference: str, tools: Deployment
    ) -> Image:
        with _author_errors(self._settings):
            async with self._turn(reference, tools.tenant) as made_meanwhile:
                if made_meanwhile is not None:
                    return made_meanwhile
                installed = await self.packages.install(base, requirements, reference, tools.progress)
            if installed:
                image = await engine_images.inspect(self._engine, reference)
                if image is None:
                    raise _gone()
                return image
        with pip_context(base, requirements, self._settings) as context:
            image, _ = await self._ensure(context, tenant=tools.tenant, report=tools.progress)
        return image

    async def pull(self, reference: str, tools: Deployment, *, auth: RegistryAuth | None = None) -> Image:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.pull`."""
        return await self._puller.obtain(ImageReference.parse(reference), auth, tools.progress)

    async def recall(self, name: str, tools: Deployment) -> Image | None:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.recall`."""
        image = await engine_images.inspect(self._engine, self._alias(name, tools.tenant))
        if image is not None:
            self.usage.count(True)
            self.usage.record(image)
        return image

    async def remember(self, name: str, image: Image, tools: Deployment) -> None:
        """See :meth:`bot_runner_worker.plugins.tools.ImageProvider.remember`."""
        await engine_images.tag(self._engine, image.id, self._alias(name, tools.tenant))

    def _alias(self, name: str, tenant: str) -> str:
        # A second tag of an image that was built: remove_all and the sweep take it by its label.
        return self._tag("alias", name, tenant)

    def _tag(self, *parts: str) -> str:
        key = hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()
        return f"{own_repository(self._settings.runner_namespace)}:{key[:40]}"

    async def _ensure(self, context: BuildContext, tenant: str, report: Progress) -> tuple[Image, bool]:
        """Return the image of a build context, and whether it was there already."""
        dockerfile, bases = await self._dockerfile(context, report)
        # An image that one tenant's Dockerfile made may hold what that tenant alone could fetch.
        owner = "" if context.shared else tenant
        # The Dockerfile names its base images by their ids: a base that has moved on makes another image.
        text = hashlib.sha256(str(dockerfile).encode()).hexdigest()
        reference = self._tag(context.digest, text, owner)
        image = await engine_images.inspect(self._engine, reference)
        was_there = image is not None
        if image is None:
            async with self._turn(reference, tenant) as image, self.usage.in_use(bases):
                if image is None:
                    await self._build(reference, context, dockerfile, report)
                    image = await engine_images.inspect(self._engine, reference)
        # Also one that was there: a start that was cancelled right after its build never looked.
        await self._check(context, image)
        if image is None:
            raise _gone()
        self.usage.record(image)
        return image, was_there

    @asynccontextmanager
    async def _turn(self, reference: str, tenant: str) -> AsyncIterator[Image | None]:
        """Wait for a turn, then for whoever makes the same image; yields the image if it is there by then.

        In this order: a tenant whose share is taken would otherwise keep all others waiting for this image.
        """
        async with self._builds.turn(tenant), self._building.setdefault(reference, asyncio.Lock()):
            yield await engine_images.inspect(self._engine, reference)

    async def _check(self, context: BuildContext, image: Image | None) -> None:
        if image is None or context.shared or context.generated:
            return
        try:
            check_image(image, "that was built", self._settings.max_image_size)
        except Rejected:
            await engine_images.remove(self._engine, image.reference)
            raise

    async def _dockerfile(
        self, context: BuildContext, report: Progress
    ) -> tuple[ParsedDockerfile, Collection[Image]]:
        """What is built, and the images that it names."""
        parsed = dockerfiles.parse(context.read_dockerfile(dockerfiles.MAX_SIZE + 1))
        labels = {NAMESPACE: self._settings.runner_namespace, ROLE: BUILD_ROLE}
        if context.shared or context.generated:
            return dockerfiles.with_labels(parsed, labels), ()
        platform = await self._engine.platform()
        vetted = dockerfiles.vet(parsed, platform, context, self._settings.max_image_size)
        images = {each: await self._puller.obtain(each, None, report) for each in vetted.images}
        return vetted.resolved(images, labels), images.values()

    async def _build(
        self, reference: str, context: BuildContext, dockerfile: ParsedDockerfile, report: Progress
    ) -> None:
        with _author_errors(self._settings):
            for attempt in range(_BUILD_ATTEMPTS):
                try:
                    async with self._networks.taken() as network:
                        await self._sandbox.build(
                            tag=reference,
                            context=context,
                            dockerfile=dockerfile,
                            network=network,
                            # Predefined arguments: known without ARG, and kept out of the image's history.
                            arguments=self._settings.proxy_environment(),
                            progress=report,
                        )
                except BuildError as error:
                    if attempt + 1 == _BUILD_ATTEMPTS or not build_errors.lost_a_step(error):
                        raise
                else:
                    return


@contextmanager
def _author_errors(settings: Settings) -> Iterator[None]:
    """Turn what ends a build into errors for the bot's author."""
    try:
        yield
    except BuildError as error:
        raise build_errors.failed(error) from error
    except TimeoutError as error:
        raise build_errors.timed_out(settings) from error
    except EngineError as error:
        raise build_errors.of_engine(error) from error


def _gone() -> Unavailable:
    return Unavailable(Code.ENGINE_FAILED, "The image was gone right after it was built.", hint="Try again.")
