"""The images on the Engine, as a forest: which are a runner's own, what they take, which stand on which."""

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime

from bot_runner_worker.engine.images import StoredImage


class Inventory:
    """All images of an Engine at one moment, and what becomes of them as the runner's own are removed.

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
        """The runner's own images by their last use; one that others stand on comes after these.

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
        """Whether another image stands on it: tagged, or the last step of a build that goes on."""
        return bool(self._children.get(image.id))

    def forget(self, image: StoredImage) -> None:
        """Take an image out that was removed, as the Engine does: with the steps that only it stood on."""
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
        """The image and those that it stands on, up to the first that is not ours."""
        for each in (image, *self._ancestry(image)):
            if each.id in self._foreign:
                return
            yield each

    def _weight(self, image: StoredImage) -> int:
        parent = self._all.get(image.parent)
        return max(0, image.size - parent.size) if parent is not None else image.size
