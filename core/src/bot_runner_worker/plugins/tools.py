"""What the core hands to a plugin's hooks: everything a deployment mode needs, and nothing else."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bot_runner_worker.images.context import BuildContext, BuildContextWriter
from bot_runner_worker.images.image import Image
from bot_runner_worker.settings import Settings


class ImageProvider(Protocol):
    """The part of the image store that plugins may use."""

    async def base(self) -> Image:
        """The base image for bots without a Dockerfile, with the operator's CA, index and proxy set."""
        ...

    async def build(self, context: BuildContext, tools: "Tools") -> Image:
        """The image of a build context: built, or reused if its content is known."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Handed to each hook of one deployment.

    Args:
        settings: The operator's settings; read them, never keep them.
        images: Base image and builds.
        tenant: The tenant, for whom images that are not shared are kept apart.
        report: Tells the bot's author what is going on; see :meth:`progress`.
    """

    settings: Settings
    images: ImageProvider
    tenant: str
    report: Callable[[str, float | None], Awaitable[None]]

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell the bot's author what is going on.

        Args:
            message: A few words, such as ``downloading 12 of 40 MB``; never a secret.
            fraction: How much of this stage is done, 0 to 1, if that is known.
        """
        await self.report(message, fraction)

    def new_build_context(self) -> BuildContextWriter:
        """An empty build context within the operator's limits; use it as a context manager."""
        return BuildContextWriter(max_size=self.settings.max_context_size)
