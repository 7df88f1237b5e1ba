"""Free space on the Engine's disk: below a minimum, nothing is built or pulled.

What needs neither goes on: a bot whose image is there starts, and is restarted, since it adds only a layer
of its own, which has a limit.
"""

import os
from dataclasses import dataclass

from bot_runner_worker.engine import Engine
from bot_runner_worker.model.errors import disk_full
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Room:
    """The free space of a file system.

    Args:
        size: Bytes.
        files: Number of files that can still be made; 0 where the file system does not count them.
    """

    size: int
    files: int


class EngineDisk:
    """The file system with the Engine's images, as far as this process can see it.

    Args:
        engine: The Engine.
        settings: ``min_free_disk``.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._min_free = settings.min_free_disk
        self._root: str | None = None

    async def free(self) -> int | None:
        """Free bytes; ``None`` if this process cannot see the file system."""
        room = await self.room()
        return None if room is None else room.size

    async def room(self) -> Room | None:
        """Its free space, if this process can see it.

        ``None`` for an Engine on another machine, or whose folder is not mounted here.
        """
        if not self._engine.address.startswith("unix://"):
            return None
        if self._root is None:
            info = await self._engine.json("GET", "info")
            self._root = str(info["DockerRootDir"])
        try:
            found = os.statvfs(self._root)
        except OSError:
            return None
        return Room(found.f_bavail * found.f_frsize, found.f_favail)

    async def check(self) -> None:
        """Check that there is enough free space.

        Raises:
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        free = await self.free()
        if free is not None and free < self._min_free:
            raise disk_full(f"{format_size(free)} free, {format_size(self._min_free)} wanted")
