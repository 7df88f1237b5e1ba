"""Garbage collection of images by the time of their last use."""

import asyncio
import logging
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from bot_runner_worker.aio import BackgroundTasks
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.images import StoredImage
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.image import Image, own_repository
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

RENEWAL = 300.0
"""Seconds for which an image that is used again is not tagged again."""

GRACE = timedelta(seconds=2 * RENEWAL)
"""An image whose last use seems to be longer ago is certainly not being started from, built on, or just
pulled: each use is recorded on the Engine unless one was in the :data:`RENEWAL` seconds before it."""

RENEWED_IN_USE = timedelta(hours=1)
"""How exactly the end of a container counts as the last use of its image."""

_MOST_REMEMBERED = 10_000


class ImageUsage:
    """Records when images are used, and counts cache hits and misses.

    The record is kept on the Engine, so that it outlives the worker: tagging an image again renews its
    ``LastTagTime``. That takes the Engine 4 ms, so it is done in the background, and not at each use:
    :data:`RENEWAL` says how exact it is, and :class:`ImageCollector` allows for that.

    Args:
        engine: The Engine.
        repository: Repository of the tags of this runner's images.
    """

    def __init__(self, engine: Engine, repository: str) -> None:
        self._engine = engine
        self._prefix = f"{repository}:"
        self._renewed: dict[str, float] = {}
        self._renewals = BackgroundTasks()
        self.hits = 0
        """Images that were there when a bot needed them."""
        self.misses = 0
        """Images that had to be built or pulled."""

    def count(self, was_there: bool) -> None:
        """Count an image that a bot needed, as a cache hit or a miss."""
        if was_there:
            self.hits += 1
        else:
            self.misses += 1

    def record(self, image: Image) -> None:
        """Record, in the background, that an image is used now.

        Args:
            image: The image; without a tag of ours, it is not ours to remove, and nothing is recorded.
        """
        now = monotonic()
        if now - self._renewed.get(image.id, -RENEWAL) < RENEWAL:
            return
        if len(self._renewed) > _MOST_REMEMBERED:
            self._renewed.clear()
        self._renewed[image.id] = now
        self._renewals.start(self._renew(image))

    async def _renew(self, image: Image) -> None:
        own = next((tag for tag in image.tags if tag.startswith(self._prefix)), None)
        if own is None:
            return
        try:
            await engine_images.tag(self._engine, image.id, own)
        except ENGINE_TROUBLE as error:
            # The image is gone, or the Engine: whoever uses it will find out.
            self._renewed.pop(image.id, None)
            logger.debug("the use of %s could not be recorded: %s", own, error)

    @asynccontextmanager
    async def in_use(self, images: Iterable[Image]) -> AsyncIterator[None]:
        """Record again and again, while the block runs, that a build uses these images."""
        renewing = asyncio.create_task(self._renew_often(list(images)))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew_often(self, images: list[Image]) -> None:
        while images:
            for image in images:
                await self._renew(image)
            await asyncio.sleep(RENEWAL)

    async def close(self) -> None:
        """Cancel what goes on in the background."""
        await self._renewals.cancel()


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What this runner's images take.

    Args:
        images: Their number.
        size: Bytes of their layers, without those of the operator's images that they are made of.
    """

    images: int
    size: int


class ImageCollector:
    """Removes images of one runner, the least recently used first.

    It keeps what a container is made of, running or not, ours or not; what another image is made of; and
    what was used within :data:`GRACE`. Of the rest it removes images that were not used for
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
        """What the images took after the last call of :meth:`collect`."""

    async def collect(self) -> CacheUse:
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
                if reason is None or age < GRACE:
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
        self, inventory: "Inventory", used: Iterable[str], now: datetime
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

    async def _reason(self, inventory: "Inventory", age: timedelta) -> str | None:
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
        """Remove our references; returns whether all are gone."""
        if await engine_images.last_tagged(self._engine, image.id) != last_use:
            return False
        own = self._own_tags(image)
        # An image with tags of others stays, with the references by digest that they may use.
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


class Inventory:
    """A snapshot of the images on an Engine.

    It knows which image is made of which, and how much space the runner's own images take, and is updated as
    these are removed.

    Args:
        images: All images, those of a build's single steps among them.
        prefix: Beginning of the tags of the runner's own.
        used: Ids of those that a container is made of.
    """

    def __init__(self, images: Iterable[StoredImage], prefix: str, used: Container[str]) -> None:
        self._all = {image.id: image for image in images}
        self._own = {
            image.id: image
            for image in self._all.values()
            if any(tag.startswith(prefix) for tag in image.tags)
        }
        # Somebody else has a name for them, too: they would be there without us.
        self._foreign = {
            image.id
            for image in self._all.values()
            if image.tags and not all(tag.startswith(prefix) for tag in image.tags)
        }
        self._children: dict[str, set[str]] = {}
        for image in self._all.values():
            self._children.setdefault(image.parent, set()).add(image.id)
        held = {each.id for image in self._all.values() if image.id in used for each in self._layers(image)}
        self._owners: dict[str, int] = {}
        self._idle = {id_ for id_ in self._all if id_ not in held}
        self.size = 0
        """Bytes that the runner's own take: each layer once, none of images that others have named."""
        self.idle_size = 0
        """The part of them that no container needs."""
        for image in self._own.values():
            self._count(image, 1)

    def _count(self, image: StoredImage, change: int) -> None:
        for each in self._layers(image):
            before = self._owners.get(each.id, 0)
            self._owners[each.id] = before + change
            if 0 in (before, before + change):
                self.size += change * self._weight(each)
                self.idle_size += change * self._weight(each) * (each.id in self._idle)

    @property
    def own(self) -> list[StoredImage]:
        """The runner's own images."""
        return list(self._own.values())

    def oldest_first(self, last_uses: Mapping[str, datetime]) -> Iterator[StoredImage]:
        """The runner's own images by their last use.

        An image comes after those that are made of it.

        Args:
            last_uses: Of each image, by its id; those that are not in it are left out.
        """
        effective = dict(last_uses)
        depth = {}
        for image in self._own.values():
            chain = list(self._ancestry(image))
            depth[image.id] = len(chain)
            for ancestor in chain:
                if ancestor.id in effective and image.id in last_uses:
                    effective[ancestor.id] = max(effective[ancestor.id], last_uses[image.id])
        wanted = [image for image in self._own.values() if image.id in last_uses]
        yield from sorted(wanted, key=lambda image: (effective[image.id], -depth[image.id]))

    def is_needed(self, image: StoredImage) -> bool:
        """Whether another image is made of it, or a step of a running build."""
        return bool(self._children.get(image.id))

    def forget(self, image: StoredImage) -> None:
        """Remove an image from the snapshot, with the steps that only it was made of."""
        self._count(image, -1)
        del self._own[image.id]
        gone = None if image.id in self._foreign else image
        while gone is not None and not self._children.get(gone.id):
            self._children[gone.parent].discard(gone.id)
            parent = self._all.get(gone.parent)
            gone = parent if parent is not None and not (parent.tags or parent.digests) else None

    def _ancestry(self, image: StoredImage) -> Iterator[StoredImage]:
        parent = self._all.get(image.parent)
        while parent is not None:
            yield parent
            parent = self._all.get(parent.parent)

    def _layers(self, image: StoredImage) -> Iterator[StoredImage]:
        """The image and its ancestors, up to the first that is not ours."""
        for each in (image, *self._ancestry(image)):
            if each.id in self._foreign:
                return
            yield each

    def _weight(self, image: StoredImage) -> int:
        parent = self._all.get(image.parent)
        return max(0, image.size - parent.size) if parent is not None else image.size
