"""An image that is ready on the Engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot_runner_worker.model.identity import CONTENT


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is ready on the Engine.

    Args:
        id: Content id, ``sha256:…``: what the container is created from.
        reference: Its name, such as ``python:3.12-slim``; shown in results.
        labels: The image's labels.
        volumes: Paths that the image declares as volumes.
        environment: The image's own variables.
        platform: ``linux/amd64`` or the like.
        size: Bytes of all its layers.
        tags: All its tags.
        triggers: Instructions that it would add to a build on top of it (``ONBUILD``).
    """

    id: str
    reference: str
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    size: int = 0
    tags: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """An id of its content: equal for images from which a bot would be the same."""
        return self.labels.get(CONTENT) or self.id
