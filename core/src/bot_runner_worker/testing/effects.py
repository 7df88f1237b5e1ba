"""Side effects of code, seen by Python's audit events and in ``/proc``."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bot_runner_worker.testing.waiting import until_sync

_watching: list[list[str]] = []
_hooked: list[bool] = []

_ALWAYS = (
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.system",
    "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod",
    "os.truncate", "shutil.rmtree", "os.putenv", "os.unsetenv", "os.chdir",
)  # fmt: skip


@contextmanager
def effects_seen() -> Iterator[list[str]]:
    """Note side effects of the block: names of audit events, and their arguments.

    Reading files is no effect; modules are imported at their first use.
    """
    if not _hooked:
        # A hook cannot be taken out again: it stays, and costs a comparison while nobody watches.
        sys.addaudithook(_seen)
        _hooked.append(True)
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


def _seen(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        _path, mode, flags = (*arguments, None, 0)[:3]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes and not set(str(mode or "")) & set("wax+"):
            return
    elif event not in _ALWAYS:
        return
    for seen in _watching:
        seen.append(f"{event} {str(arguments)[:200]}")


def temporary_files() -> set[str]:
    """Files and folders in the temporary folder, and open files there without a name."""
    folder = Path(tempfile.gettempdir())
    found = {str(path) for path in folder.iterdir()}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith(f"{folder}/") and target.endswith("(deleted)"):
            found.add(f"{target} as {descriptor.name}")
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


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Give the block a temporary folder of its own."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="bot-runner-kit-") as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that the block leaves no temporary files and no child processes."""
    with own_temporary_folder():
        before = children()
        yield
        # Nobody removes a file any more once they are gone: asyncio.run has waited for all threads.
        until_sync(lambda: not children() - before, 5, lambda: f"child processes end: {children() - before}")
        assert temporary_files() == set(), "temporary files are left"
