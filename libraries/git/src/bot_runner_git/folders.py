"""Temporary folders of repositories, and what becomes of those of a worker that was killed.

A folder is locked for as long as its process lives: the kernel lets go of the lock whatever ends the process,
so a folder that can be locked is nobody's any more.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

PREFIX = "bot-runner-git-"

_YOUNG = 60
"""Seconds for which a folder is left alone: it may not have been locked yet."""

_sweeping = threading.Lock()
_swept: set[str] = set()


class RepositoryFolder:
    """A new temporary folder, this process's own until :meth:`close`."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep_once() -> None:
    """Delete the folders of killed processes, the first time that this process calls it. Blocking."""
    parent = tempfile.gettempdir()
    with _sweeping:
        if parent not in _swept:
            _swept.add(parent)
            sweep(Path(parent))


def sweep(parent: Path) -> None:
    """Delete the folders in ``parent`` that are nobody's any more."""
    for path in parent.glob(PREFIX + "*"):
        # Others may write to /tmp as well, and delete what is in it at any moment.
        with contextlib.suppress(OSError):
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                found = os.fstat(folder)
                if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _YOUNG:
                    continue
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(folder)
