"""Seeing what code does besides answering: files, sockets and processes, by Python's own audit events."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_watching: list[list[str]] = []
_hooked: list[bool] = []

_ALWAYS = (
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.system",
    "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod",
    "os.truncate", "shutil.rmtree", "os.putenv", "os.unsetenv", "os.chdir",
)  # fmt: skip


@contextmanager
def effects_seen() -> Iterator[list[str]]:
    """Note what the code in the block does to the world: names of audit events, and what they were about.

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
    """Files and folders in this process's temporary folder, and its open files there without a name."""
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
    """A temporary folder of the block's own: whatever turns up in it is the block's doing."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="bot-runner-kit-") as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before
