"""Which images are kept: those that bots are made of, and of the others those that were used last."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.images import StoredImage
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.inventory import Inventory
from bot_runner_worker.images.uses import RENEWAL
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.model.references import own_repository
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

SPARED = timedelta(seconds=2 * RENEWAL)
"""An image whose last use seems to be longer ago is certainly not being started from, built on, or just
pulled: each use is noted on the Engine unless one was in the :data:`~.uses.RENEWAL` seconds before it."""

RENEWED_IN_USE = timedelta(hours=1)
"""How exactly the end of a container counts as the last use of its image."""


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What this runner's images take.

    Args:
        images: Their number.
        size: Bytes of their layers, without those of the operator's images that they are made of.
    """

    images: int
    size: int


class ImageRetention:
    """Removes the images of one runner that are used no more, the least recently used first.

    Kept always: what a container is made of, running or not, ours or not; what another image is made of;
    what was used within :data:`SPARED`. Of the rest, images go that were not used for
    ``IMAGE_MAX_AGE_HOURS``, and as many more as it takes to come below ``IMAGE_CACHE_SIZE`` and to have
    ``MIN_FREE_DISK`` free, or else nothing could be built any more.

    Args:
        engine: The Engine.
        settings: Namespace, size and age.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._prefix = own_repository(settings.runner_namespace) + ":"
        self._base_image = settings.base_image
        self._max_size = settings.image_cache_size
        self._max_age = timedelta(hours=settings.image_max_age_hours)
        self._min_free = settings.min_free_disk
        self._disk = EngineDisk(engine, settings)
        self._lock = asyncio.Lock()
        self.last: CacheUse | None = None
        """What the images took after the last call of :meth:`tidy`."""

    async def tidy(self) -> CacheUse:
        """Remove what is not to be kept; returns what the rest takes.

        Raises:
            EngineError: If the Engine refuses a call.
            Unavailable: If it does not answer.
        """
        async with self._lock:
            # Before the images: a container that is made meanwhile is of an image that was used just now.
            used = {row["ImageID"] for row in await containers.list_all(self._engine)}
            inventory = Inventory(await engine_images.list_all(self._engine), self._prefix, used)
            # By the Engine's clock, like the times of use.
            now = await self._engine.time()
            last_uses = await self._last_uses(inventory, used, now)
            kept = used | await self._bases()
            for image in inventory.oldest_first(last_uses):
                age = now - last_uses[image.id]
                reason = await self._reason(inventory, age)
                if reason is None or age < SPARED:
                    # The others were used later still.
                    break
                if image.id in kept or inventory.is_needed(image):
                    continue
                if await self._remove(image, last_uses[image.id]):
                    inventory.forget(image)
                    logger.info(
                        "removed the image %s, last used %s ago: %s", image.id[7:19], _hours(age), reason
                    )
            self.last = CacheUse(len(inventory.own), inventory.size)
            return self.last

    async def _last_uses(
        self, inventory: Inventory, used: Iterable[str], now: datetime
    ) -> dict[str, datetime]:
        found = {}
        for image in inventory.own:
            moment = await engine_images.last_tagged(self._engine, image.id)
            if moment is None:
                continue
            if image.id in used and now - moment > RENEWED_IN_USE:
                await engine_images.tag(self._engine, image.id, self._own_tags(image)[0])
                moment = now
            found[image.id] = moment
        return found

    async def _bases(self) -> set[str]:
        base = await engine_images.inspect(self._engine, self._base_image)
        return {base.id} if base is not None else set()

    async def _reason(self, inventory: Inventory, age: timedelta) -> str | None:
        """Why an image of this age should go, if it should."""
        if age > self._max_age:
            return "it is older than IMAGE_MAX_AGE_HOURS"
        if inventory.idle_size > self._max_size:
            return f"those not in use take {format_size(inventory.idle_size)}, more than IMAGE_CACHE_SIZE"
        free = await self._disk.free()
        if free is not None and free < self._min_free:
            return f"{format_size(free)} are free on the Engine's disk, less than MIN_FREE_DISK"
        return None

    async def _remove(self, image: StoredImage, last_use: datetime) -> bool:
        """Take away our references; returns whether all are gone."""
        if await engine_images.last_tagged(self._engine, image.id) != last_use:
            return False
        own = self._own_tags(image)
        # What somebody else has named stays, with the references by digest under which he may know it.
        foreign = len(own) < len(image.tags)
        # The Engine refuses to take the last reference of an image that a container is made of.
        references = own if foreign else [*image.digests, *own]
        for reference in references:
            if not await engine_images.untag(self._engine, reference):
                return False
        return True

    def _own_tags(self, image: StoredImage) -> list[str]:
        return [tag for tag in image.tags if tag.startswith(self._prefix)]


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} h"
