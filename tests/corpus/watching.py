"""What a hostile input may leave behind or use up in this process: files, child processes, memory."""

import asyncio
import gc
import os
import tempfile
import threading
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_INTERVAL = 0.01


def temporary_files() -> set[str]:
    """Files and folders in this process's temporary folder, and its open files there without a name."""
    folder = Path(tempfile.gettempdir())
    return {str(path) for path in folder.iterdir()} | set(_nameless(folder))


def _nameless(folder: Path) -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith(f"{folder}/") and target.endswith("(deleted)"):
            found.append(target)
    return found


def children() -> set[int]:
    """Ids of this process's children, finished ones that nobody waited for included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(pid) for pid in (task / "children").read_text().split()}
        except OSError:
            continue
    return found


async def gone(before: set[int], seconds: float = 5.0) -> set[int]:
    """Children that are there besides those ``before``, after a moment to end."""
    end = time.monotonic() + seconds
    while (left := children() - before) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return left


class PeakMemory:
    """By how many bytes this process grew at most; use it as a context manager."""

    def __init__(self) -> None:
        self.growth = 0
        self._stop = threading.Event()

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        self._before = _resident()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.growth = max(self.growth, _resident() - self._before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
