"""Room on the Engine's disk: a floor under which nothing is built or pulled."""

import shutil

from bot_runner_worker.engine import Engine
from bot_runner_worker.images.pull_errors import disk_full
from bot_runner_worker.quantities import format_size
from bot_runner_worker.settings import Settings


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
        if not self._engine.address.startswith("unix://"):
            return None
        if self._root is None:
            info = await self._engine.json("GET", "info")
            self._root = str(info["DockerRootDir"])
        try:
            return shutil.disk_usage(self._root).free
        except OSError:
            return None

    async def check(self) -> None:
        """Go on if there is room.

        Raises:
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        free = await self.free()
        if free is not None and free < self._floor:
            raise disk_full(f"{format_size(free)} free, {format_size(self._floor)} wanted")
