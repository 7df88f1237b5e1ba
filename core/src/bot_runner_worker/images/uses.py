"""When images were last used: kept on the Engine, where any worker finds it, by tagging them again.

Tagging an image renews its ``LastTagTime``. That takes the Engine 4 ms, so it is done beside the start, and
not for each one: :data:`RENEWAL` says how exact it is. :mod:`.retention` allows for that.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from time import monotonic

from bot_runner_worker.engine import ENGINE_TROUBLE, Engine
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.model.image import Image

logger = logging.getLogger(__name__)

RENEWAL = 300.0
"""Seconds for which an image that is used again is not tagged again."""

_MOST_REMEMBERED = 10_000


class ImageUses:
    """Notes the use of images, and counts how often there was one to use.

    Args:
        engine: The Engine.
        repository: Of the tags of this runner's images.
    """

    def __init__(self, engine: Engine, repository: str) -> None:
        self._engine = engine
        self._prefix = f"{repository}:"
        self._renewed: dict[str, float] = {}
        self._renewals: set[asyncio.Task[None]] = set()
        self.hits = 0
        """Images that were there when a bot needed them."""
        self.misses = 0
        """Images that had to be built or pulled."""

    def count(self, was_there: bool) -> None:
        """Count an image that a bot needed: whether it was there, or had to be built or pulled."""
        if was_there:
            self.hits += 1
        else:
            self.misses += 1

    def note(self, image: Image) -> None:
        """Note, in the background, that an image is used now.

        Args:
            image: The image; without a tag of ours, it is not ours to remove, and nothing is noted.
        """
        now = monotonic()
        if now - self._renewed.get(image.id, -RENEWAL) < RENEWAL:
            return
        if len(self._renewed) > _MOST_REMEMBERED:
            self._renewed.clear()
        self._renewed[image.id] = now
        task = asyncio.create_task(self._renew(image))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _renew(self, image: Image) -> None:
        own = next((tag for tag in image.tags if tag.startswith(self._prefix)), None)
        if own is None:
            return
        try:
            await engine_images.tag(self._engine, image.id, own)
        except ENGINE_TROUBLE as error:
            # The image is gone, or the Engine: whoever uses it will find out.
            self._renewed.pop(image.id, None)
            logger.debug("the use of %s could not be noted: %s", own, error)

    @asynccontextmanager
    async def kept(self, images: Iterable[Image]) -> AsyncIterator[None]:
        """Note again and again, while a build goes on, that it uses these images."""
        keeping = asyncio.create_task(self._keep(list(images)))
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    async def _keep(self, images: list[Image]) -> None:
        while images:
            for image in images:
                await self._renew(image)
            await asyncio.sleep(RENEWAL)

    async def close(self) -> None:
        """End what is going on in the background."""
        for task in list(self._renewals):
            task.cancel()
        await asyncio.gather(*self._renewals, return_exceptions=True)
