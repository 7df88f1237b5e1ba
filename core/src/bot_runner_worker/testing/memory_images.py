"""Images in memory: named by their content, as on the Engine; of Dockerfiles, only the words are read."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bot_runner_worker.images import dockerfile as dockerfiles
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.image import Image, ImageReference, RegistryAuth
from bot_runner_worker.model.requirements import check_requirements
from bot_runner_worker.outbound import OutboundPolicy
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.settings import Settings

PLATFORM = "linux/amd64"


@dataclass(frozen=True, slots=True)
class _Remote:
    image: Image
    auth: RegistryAuth | None


class MemoryImages:
    """Implements :class:`bot_runner_worker.plugins.tools.ImageProvider`.

    Dockerfiles are read and vetted as always, and instructions that cannot but fail (``RUN false``,
    ``RUN exit 1``) fail; nothing else of them is run.

    Args:
        settings: Base image and rules.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._built: dict[str, Image] = {}
        self._remembered: dict[tuple[str, str], Image] = {}
        self._registries: dict[str, _Remote] = {}
        self.builds: list[str] = []
        """References of the images that were built, in their order; none for one that was there already."""

    def publish(self, reference: str, *, auth: RegistryAuth | None = None) -> Image:
        """Put an image into the registry that its name says.

        Args:
            reference: As in ``docker pull``.
            auth: Who else may not pull it.
        """
        parsed = ImageReference.parse(reference)
        image = Image(_id("registry", str(parsed)), parsed.familiar, platform=PLATFORM)
        self._registries[str(parsed)] = _Remote(image, auth)
        return image

    async def base(self) -> Image:
        """See :class:`ImageProvider`."""
        await asyncio.sleep(0)
        reference = self._settings.base_image
        return Image(_id("base", reference), reference, platform=PLATFORM)

    async def build(self, context: BuildContext, tools: Tools) -> Image:
        """See :class:`ImageProvider`."""
        parsed = dockerfiles.parse(context.read_dockerfile(dockerfiles.MAX_SIZE + 1))
        if not (context.shared or context.generated):
            vetted = dockerfiles.vet(parsed, PLATFORM, context, self._settings.max_image_size)
            for base in vetted.images:
                await self._obtain(base, None)
        await tools.progress("building")
        await asyncio.sleep(0)
        for instruction in parsed.instructions:
            if instruction.name == "RUN" and instruction.arguments.strip() in ("false", "exit 1"):
                raise Rejected(
                    Code.BUILD_FAILED,
                    "The image could not be built.",
                    hint="See the end of the build's output in details.log.",
                    details={"log": [f"RUN {instruction.arguments.strip()}", "returned a non-zero code: 1"]},
                )
        image = self._made("built", context.digest, "" if context.shared else tools.tenant)
        users = [each.arguments.strip() for each in parsed.instructions if each.name == "USER"]
        return replace(image, user=users[-1] if users else "")

    async def with_packages(self, requirements: Sequence[str], tools: Tools) -> Image:
        """See :class:`ImageProvider`; the index has all packages but those that begin with ``no-such-``."""
        wanted = check_requirements(requirements)
        await tools.progress("installing packages")
        await asyncio.sleep(0)
        if missing := [each for each in wanted if each.startswith("no-such-")]:
            raise Rejected(
                Code.BUILD_FAILED,
                "The packages could not be installed.",
                hint="Check the names and versions in the requirements.",
                details={"log": [f"{missing[0]} was not found in the package registry"]},
            )
        return self._made("packages", (await self.base()).id, *wanted)

    def _made(self, *parts: str) -> Image:
        key = _id(*parts)
        if key not in self._built:
            reference = f"bot-runner/memory:{key[7:47]}"
            self._built[key] = Image(key, reference, platform=PLATFORM)
            self.builds.append(reference)
        return self._built[key]

    async def pull(self, reference: str, tools: Tools, *, auth: RegistryAuth | None = None) -> Image:
        """See :class:`ImageProvider`."""
        parsed = ImageReference.parse(reference)
        await tools.progress(f"asking {parsed.registry} for {parsed.familiar}")
        return await self._obtain(parsed, auth)

    async def _obtain(self, reference: ImageReference, auth: RegistryAuth | None) -> Image:
        names = (str(reference), reference.familiar)
        if self._is_base(reference):
            return await self.base()
        offered = self._settings.local_images_allowed
        if not any(fnmatchcase(name, pattern) for name in names for pattern in offered):
            await OutboundPolicy(self._settings).check_registry(reference.registry)
        await asyncio.sleep(0)
        found = self._registries.get(str(reference))
        if found is None:
            raise Rejected(
                Code.IMAGE_NOT_FOUND,
                f"There is no image {reference.familiar}.",
                hint="Check its name and tag.",
                details={"image": reference.familiar},
            )
        if found.auth is not None and found.auth != auth:
            code = Code.IMAGE_ACCESS_DENIED if auth is None else Code.REGISTRY_AUTH_FAILED
            raise Rejected(
                code, f"The registry does not give out {reference.familiar}.", hint="Check registry_auth."
            )
        return found.image

    def _is_base(self, reference: ImageReference) -> bool:
        try:
            return ImageReference.parse(self._settings.base_image) == reference
        except Rejected:
            return False

    async def recall(self, name: str, tools: Tools) -> Image | None:
        """See :class:`ImageProvider`."""
        await asyncio.sleep(0)
        return self._remembered.get((tools.tenant, name))

    async def remember(self, name: str, image: Image, tools: Tools) -> None:
        """See :class:`ImageProvider`."""
        await asyncio.sleep(0)
        self._remembered[(tools.tenant, name)] = replace(image)


def _id(*parts: str) -> str:
    return "sha256:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()
