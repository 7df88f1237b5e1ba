"""The image store as one request's plugins see it: it knows which images it has handed out.

A plugin answers with one of them. One of its own making could name another tenant's image, or lack the labels
that the core takes the sting out of.
"""

from collections.abc import Sequence
from dataclasses import replace

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.references import RegistryAuth
from bot_runner_worker.plugins.patience import core_at_work
from bot_runner_worker.plugins.tools import ImageProvider, Tools


class RequestImages:
    """Implements :class:`bot_runner_worker.plugins.tools.ImageProvider`.

    Builds and pulls have time limits of their own: what they take is not counted as the plugin's.

    Args:
        images: Where the images come from.
    """

    def __init__(self, images: ImageProvider) -> None:
        self._images = images
        self._known: dict[str, Image] = {}

    def known(self, image: Image) -> Image | None:
        """The image as it was handed out, under the name that the plugin gives it; ``None`` if it was not."""
        found = self._known.get(image.id) if isinstance(image.id, str) else None
        if found is None or not isinstance(image.reference, str):
            return None
        return replace(found, reference=image.reference[:1000])

    def _hand_out(self, image: Image) -> Image:
        self._known[image.id] = image
        return image

    async def base(self) -> Image:
        """See :class:`ImageProvider`."""
        with core_at_work():
            return self._hand_out(await self._images.base())

    async def build(self, context: BuildContext, tools: Tools) -> Image:
        """See :class:`ImageProvider`."""
        with core_at_work():
            return self._hand_out(await self._images.build(context, tools))

    async def with_packages(self, requirements: Sequence[str], tools: Tools) -> Image:
        """See :class:`ImageProvider`."""
        with core_at_work():
            return self._hand_out(await self._images.with_packages(requirements, tools))

    async def pull(self, reference: str, tools: Tools, *, auth: RegistryAuth | None = None) -> Image:
        """See :class:`ImageProvider`."""
        with core_at_work():
            return self._hand_out(await self._images.pull(reference, tools, auth=auth))

    async def recall(self, name: str, tools: Tools) -> Image | None:
        """See :class:`ImageProvider`."""
        with core_at_work():
            image = await self._images.recall(name, tools)
        return None if image is None else self._hand_out(image)

    async def remember(self, name: str, image: Image, tools: Tools) -> None:
        """See :class:`ImageProvider`."""
        with core_at_work():
            await self._images.remember(name, image, tools)
