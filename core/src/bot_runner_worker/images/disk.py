"""Room on the Engine's disk: a floor under which nothing is built or pulled.

What needs neither goes on below it: a bot whose image is there starts, and is restarted, since all that it
adds is a layer of its own, which has a limit.
"""

import os
from dataclasses import dataclass

from bot_runner_worker.engine import Engine
from bot_runner_worker.model.errors import disk_full
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a file system.

    Args:
        size: Bytes.
        files: Files that can still be made; 0 where the file system does not count them.
    """

    size: int
    files: int


class EngineDisk:
    """The file system that holds the Engine's images, as far as this process can see it.

    Args:
        engine: The Engine.
        settings: ``min_free_disk``.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._floor = settings.min_free_disk
        self._root: str | None = None

    async def free(self) -> int | None:
        """Free bytes; ``None`` for an Engine on another machine, or whose folder is not mounted here."""
        room = await self.room()
        return None if room is None else room.size

    async def room(self) -> Room | None:
        """What is left of it; ``None`` like :meth:`free`. Costs next to nothing."""
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
        """Go on if there is room.

        Raises:
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        free = await self.free()
        if free is not None and free < self._floor:
            raise disk_full(f"{format_size(free)} free, {format_size(self._floor)} wanted")
