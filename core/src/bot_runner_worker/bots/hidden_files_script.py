"""The program that finds hidden files: standard library only, for the Python of any base image.

It sees all processes of the host. ``CONTAINERS`` (JSON) holds ids of containers; it prints, for each that
runs, the bytes that its hidden files take (their blocks, whatever their length), and how many files stay on
their way from one process to another, in a socket.
"""

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator

PAUSE = 0.3
"""Seconds after which a file that is still on its way is meant to stay there."""

Found = dict[tuple[int, int], int]
"""Bytes of files, or files in sockets, by device and inode: one may be open many times."""


def container_of(process: str, containers: "set[str]") -> "str | None":
    """The container that a process belongs to, if it is one of those asked for."""
    with open(f"{process}/cgroup") as file:
        ids = re.findall("[0-9a-f]{64}", file.read())
    return next((each for each in ids if each in containers), None)


def links(process: str) -> Iterator[str]:
    """What leads to the files that a process has open or mapped, be they deleted or not."""
    for thread in os.listdir(f"{process}/task"):
        # A thread may have a table of open files of its own.
        folder = f"{process}/task/{thread}/fd"
        try:
            yield from (f"{folder}/{number}" for number in os.listdir(folder))
        except OSError:
            continue  # it has ended
    with open(f"{process}/maps", errors="replace") as file:
        mapped = [line.split("-", 1) for line in file if line.endswith(" (deleted)\n")]
    for begin, rest in mapped:
        # Those names have no leading zeros.
        yield f"{process}/map_files/{int(begin, 16):x}-{int(rest.split()[0], 16):x}"


def deleted(process: str, _: str, found: Found) -> None:
    """Add the files on the container's disk that are deleted but not closed."""
    disk = os.stat(f"{process}/root").st_dev
    for link in links(process):
        try:
            seen = os.stat(link)
        except OSError:
            continue  # closed meanwhile
        if seen.st_dev == disk and not seen.st_nlink and stat.S_ISREG(seen.st_mode):
            found[seen.st_dev, seen.st_ino] = seen.st_blocks * 512


def on_their_way(process: str, _: str, found: Found) -> None:
    """Add how many files wait in each Unix socket for a receiver: ``SCM_RIGHTS`` of unix(7)."""
    for link in links(process):
        try:
            seen = os.stat(link)
            if stat.S_ISSOCK(seen.st_mode):
                with open(link.replace("/fd/", "/fdinfo/")) as file:
                    waiting = re.search(r"^scm_fds:\s*(\d+)", file.read(), re.MULTILINE)
                if waiting:
                    found[seen.st_dev, seen.st_ino] = int(waiting[1])
        except OSError:
            continue  # closed meanwhile


def lent(process: str, container: str, found: Found) -> None:
    """Add what the Engine lends to each container: ``/etc/hosts`` and its like lie beside its disk."""
    with open(f"{process}/mountinfo", errors="replace") as file:
        for line in file:
            # See proc(5): the fourth is what is mounted, the fifth is where.
            source, target = line.split()[3:5]
            if source.endswith(
                tuple(f"/{container}/{name}" for name in ("hosts", "hostname", "resolv.conf"))
            ):
                seen = os.stat(f"{process}/root{target}")
                found[seen.st_dev, seen.st_ino] = seen.st_blocks * 512


def look(containers: "set[str]", *parts: Callable[[str, str, Found], None]) -> "dict[str, Found]":
    """Look at all processes of these containers."""
    sizes: dict[str, Found] = {}
    for number in filter(str.isdigit, os.listdir("/proc")):
        process = f"/proc/{number}"
        for part in parts:
            try:
                container = container_of(process, containers)
                if container is not None:
                    part(process, container, sizes.setdefault(container, {}))
            except OSError:
                continue  # it has ended
    return sizes


def stay(before: Found, after: Found) -> Found:
    """What is there both times."""
    return {key: min(number, after.get(key, 0)) for key, number in before.items()}


def total(found: Found) -> int:
    """The sum of what was found."""
    return sum(found.values())


def main() -> None:
    """Print the sizes as one line of JSON."""
    containers = set(json.loads(os.environ["CONTAINERS"]))
    sizes = look(containers, lent, deleted)
    waiting = look(containers, on_their_way)
    suspects = {each for each, found in waiting.items() if any(found.values())}
    if suspects:
        time.sleep(PAUSE)
        again = look(suspects, on_their_way)
        waiting = {each: stay(waiting[each], again.get(each, {})) for each in suspects}
    print(
        json.dumps({each: [total(sizes[each]), total(waiting.get(each, {}))] for each in sizes}), flush=True
    )


if __name__ == "__main__":
    main()
