"""Tools that hooks get: settings, images, progress, build contexts."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bot_runner_worker.images.context import MAX_NOTE, MAX_NOTES, BuildContext, BuildContextWriter
from bot_runner_worker.model.image import Image, RegistryAuth
from bot_runner_worker.outbound import OutboundPolicy
from bot_runner_worker.plugins.guard import timeout_paused
from bot_runner_worker.settings import Settings


class ImageProvider(Protocol):
    """The part of the image store that plugins may use."""

    async def base(self) -> Image:
        """The base image, with the operator's CA, index and proxy set."""
        ...

    async def build(self, context: BuildContext, tools: "Tools") -> Image:
        """The image of a build context: built, or reused if its content is known."""
        ...

    async def with_packages(self, requirements: Sequence[str], tools: "Tools") -> Image:
        """The base image with Python packages from the index.

        All tenants who ask for the same packages share one image. Faster than a build of a Dockerfile that
        runs pip.

        Args:
            requirements: By name (PEP 508), such as ``aiogram>=3``; no options, paths or addresses.
            tools: Those of the deployment.

        Raises:
            Rejected: ``INVALID_REQUIREMENT``, or ``BUILD_FAILED`` with the last lines of the output.
        """
        ...

    async def pull(self, reference: str, tools: "Tools", *, auth: RegistryAuth | None = None) -> Image:
        """An image from a registry, pulled if the Engine does not have it.

        The registry is asked in any case.

        Args:
            reference: As in ``docker pull``; see :class:`~bot_runner_worker.model.image.ImageReference`.
            tools: Those of the deployment.
            auth: The tenant's credentials, for the registry of this reference only.

        Raises:
            Rejected: If it is not there, not allowed, or cannot run here.
            Unavailable: If the registry fails, or limits the rate.
        """
        ...

    async def recall(self, name: str, tools: "Tools") -> Image | None:
        """The tenant's image that :meth:`remember` has filed under a name, if it still exists.

        Args:
            name: All that the image depends on, in one text: a repository and its commit, for instance.
            tools: Those of the deployment.
        """
        ...

    async def remember(self, name: str, image: Image, tools: "Tools") -> None:
        """File an image under a name for :meth:`recall`, which saves a fetch and a build."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Handed to each hook of one deployment.

    Args:
        settings: The operator's settings; read them, never keep them.
        images: Base image and builds.
        tenant: The tenant, for whom images that are not shared are kept apart.
        report: Tells the bot's author what is going on; see :meth:`progress`.
        kept: What a plugin keeps from one hook to the next; use keys that begin with the plugin's name.
        notes: What the bot's author will be told in the result; see :meth:`note`.
    """

    settings: Settings
    images: ImageProvider
    tenant: str
    report: Callable[[str, float | None], Awaitable[None]]
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    notes: list[str] = field(default_factory=list, repr=False, compare=False)

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell the bot's author what is going on.

        Args:
            message: A few words, such as ``downloading 12 of 40 MB``; never a secret.
            fraction: How much of this stage is done, 0 to 1, if that is known.
        """
        await self.report(message, fraction)

    def note(self, text: str) -> None:
        """Add a note for the bot's author to the result: what was left out or done otherwise.

        Args:
            text: A few words; never a secret. Each text counts once, and only the first few.
        """
        if text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text[:MAX_NOTE])

    @property
    def outbound(self) -> OutboundPolicy:
        """The operator's rules for every server that is dialled for a tenant."""
        return OutboundPolicy(self.settings)

    def new_build_context(self) -> BuildContextWriter:
        """A writer for a build context within the operator's limits; a context manager."""
        return BuildContextWriter(max_size=self.settings.max_context_size)


class RequestImages:
    """The images of one request; implements :class:`ImageProvider`.

    It knows which images it has returned, and a plugin answers with one of them: one that the plugin made
    itself could name another tenant's image, or lack the volumes and labels that the core deals with. The
    hook's time limit is paused while the core works.

    Args:
        images: Where the images come from.
        turn_lent: Entered while the request waits for a build, which is a queue of its own.
    """

    def __init__(
        self,
        images: ImageProvider,
        turn_lent: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self._images = images
        self._turn_lent = turn_lent
        self._known: dict[str, Image] = {}

    def known(self, image: Image) -> Image | None:
        """The returned image, under the plugin's name for it; ``None`` for any other image."""
        found = self._known.get(image.id) if isinstance(image.id, str) else None
        if found is None or not isinstance(image.reference, str):
            return None
        return replace(found, reference=image.reference[:1000])

    async def _pass_on(self, work: Awaitable[Image]) -> Image:
        with timeout_paused():
            image = await work
        self._known[image.id] = image
        return image

    async def base(self) -> Image:
        """See :class:`ImageProvider`."""
        return await self._pass_on(self._images.base())

    async def build(self, context: BuildContext, tools: Tools) -> Image:
        """See :class:`ImageProvider`."""
        with timeout_paused():
            async with self._turn_lent():
                return await self._pass_on(self._images.build(context, tools))

    async def with_packages(self, requirements: Sequence[str], tools: Tools) -> Image:
        """See :class:`ImageProvider`."""
        with timeout_paused():
            async with self._turn_lent():
                return await self._pass_on(self._images.with_packages(requirements, tools))

    async def pull(self, reference: str, tools: Tools, *, auth: RegistryAuth | None = None) -> Image:
        """See :class:`ImageProvider`."""
        return await self._pass_on(self._images.pull(reference, tools, auth=auth))

    async def recall(self, name: str, tools: Tools) -> Image | None:
        """See :class:`ImageProvider`."""
        with timeout_paused():
            image = await self._images.recall(name, tools)
        if image is not None:
            self._known[image.id] = image
        return image

    async def remember(self, name: str, image: Image, tools: Tools) -> None:
        """See :class:`ImageProvider`."""
        with timeout_paused():
            await self._images.remember(name, image, tools)
