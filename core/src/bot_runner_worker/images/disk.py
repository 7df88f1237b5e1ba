"""Free space on the Engine's disk: below a minimum, nothing is built or pulled.

What needs neither goes on: a bot whose image is there starts, and is restarted, since it adds only a layer
of its own, which has a limit.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from bot_runner_worker.engine import Engine
from bot_runner_worker.model.errors import disk_full
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.settings import Settings

MIN_FREE_FILES = 0.05
"""Part of a file system's files (inodes) below which nothing is built or pulled."""

_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Room:
    """The free space of a file system.

    Args:
        size: Bytes.
        files: Number of files that can still be made; 0 where the file system does not count them.
        most_files: Number of files that it can have; 0 likewise.
    """

    size: int
    files: int
    most_files: int = 0


def seen_at(root: str, mounts: str | None = None) -> str | None:
    """Where this process sees the file system with the Engine's data; ``None`` if it does not.

    A container sees it without any mount: the figures of its own root are those of the file system that its
    upper layer lies on (Linux, ``fs/overlayfs/super.c``, ``ovl_statfs``).

    Args:
        root: The Engine's ``DockerRootDir``.
        mounts: This process's mounts, by default the text of ``/proc/self/mountinfo``, see proc(5).
    """
    if os.path.isdir(root):
        return root
    for line in (_MOUNTS.read_text(errors="replace") if mounts is None else mounts).splitlines():
        mount, _, kind = line.partition(" - ")
        # Where it is mounted, its type, and its own options last.
        if mount.split()[4] == "/" and kind.startswith("overlay "):
            options = dict(option.partition("=")[::2] for option in kind.split()[2].split(","))
            if options.get("upperdir", "").startswith(f"{root}/"):
                return "/"
    return None


class EngineDisk:
    """The file system with the Engine's images, as far as this process can see it.

    Args:
        engine: The Engine.
        settings: ``min_free_disk``.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._min_free = settings.min_free_disk
        self._looked = False
        self._seen_at: str | None = None

    async def free(self) -> int | None:
        """Free bytes; ``None`` if this process cannot see the file system."""
        room = await self.room()
        return None if room is None else room.size

    async def room(self) -> Room | None:
        """Its free space, if this process can see it.

        ``None`` for an Engine on another machine, and in a container that shows it nowhere.
        """
        if not self._engine.address.startswith("unix://"):
            return None
        if not self._looked:
            root = str((await self._engine.json("GET", "info"))["DockerRootDir"])
            self._seen_at = seen_at(root)
            self._looked = True
        if self._seen_at is None:
            return None
        try:
            found = os.statvfs(self._seen_at)
        except OSError:
            return None
        return Room(found.f_bavail * found.f_frsize, found.f_favail, found.f_files)

    async def check(self) -> None:
        """Check that there is enough free space, also for files that are empty.

        Raises:
            Unavailable: ``ENGINE_DISK_FULL``.
        """
        free = await self.free()
        if free is not None and free < self._min_free:
            raise disk_full(f"{format_size(free)} free, {format_size(self._min_free)} wanted")
        room = await self.room()
        if room is not None and room.files < room.most_files * MIN_FREE_FILES:
            raise disk_full(f"{room.files} of {room.most_files} files can still be made")
