"""What an image of somebody else's making must keep to, before a bot runs from it."""

import re

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.quantities import format_size

MAX_VOLUMES = 32
_VOLUME = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+/?")
_SYSTEM_FOLDERS = ("proc", "sys", "dev")


def check_image(image: Image, name: str, max_size: int) -> None:
    """Hold an image against the limits.

    Args:
        image: The image on the Engine.
        name: What the tenant calls it.
        max_size: Bytes of all its layers.

    Raises:
        Rejected: ``IMAGE_TOO_LARGE``, or ``IMAGE_REFUSED`` for volumes that it must not declare: each becomes
            a file system in memory at its path.
    """
    if image.size > max_size:
        raise too_large(name, max_size)
    if len(image.volumes) > MAX_VOLUMES or not all(map(_is_fine_volume, image.volumes)):
        raise Rejected(
            Code.IMAGE_REFUSED,
            f"The image {name} declares volumes that it cannot have.",
            hint=f"Declare at most {MAX_VOLUMES} volumes, absolute paths outside /proc, /sys and /dev.",
            details={"image": name, "volumes": [path[:200] for path in image.volumes[:MAX_VOLUMES]]},
        )


def _is_fine_volume(path: str) -> bool:
    return _VOLUME.fullmatch(path) is not None and path.split("/")[1] not in _SYSTEM_FOLDERS


def too_large(name: str, max_size: int) -> Rejected:
    """The error for an image that is larger than allowed."""
    return Rejected(
        Code.IMAGE_TOO_LARGE,
        f"The image {name} is larger than {format_size(max_size)}.",
        hint="Use a smaller image, or ask the operator to raise MAX_IMAGE_SIZE.",
        details={"image": name, "limit_bytes": max_size},
    )
