"""What a run has made on the Engine, found by labels and names, and removed.

There is one run at a time on a machine, so a run may also take away what one that was killed has left.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.docker_api import Docker, DockerError
from bot_runner_worker.model.identity import NAMESPACE

LABEL = "bot-runner-bench"
LABELS = {LABEL: "1"}
"""On everything that is made by hand, and by the base image on every image and container besides."""

NAMESPACE_PREFIX = "bench-"
"""Of the runners' namespaces."""

REPOSITORY = "bot-runner-bench"
_REPOSITORIES = (f"{REPOSITORY}/", f"bot-runner/{NAMESPACE_PREFIX}")

AT_ONCE = 4
"""Removals at once."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something on the Engine.

    Args:
        kind: ``container``, ``network``, ``volume`` or ``image``.
        id: What the Engine calls it.
        name: What people call it.
    """

    kind: str
    id: str
    name: str


def find(docker: Docker) -> list[Leftover]:
    """All that runs of the benchmark have made."""
    return [*_containers(docker), *_networks(docker), *_volumes(docker), *_images(docker)]


def sweep(docker: Docker) -> list[Leftover]:
    """Remove all of it; returns what is still there afterwards."""
    remove = {
        "container": docker.remove,
        "network": docker.remove_network,
        "volume": docker.remove_volume,
        "image": docker.remove_image,
    }
    found = find(docker)
    before = None
    with ThreadPoolExecutor(AT_ONCE) as threads:
        # An image that others were built on goes after them.
        while found and found != before:
            for kind, remove_one in remove.items():
                ids = [each.id for each in found if each.kind == kind]
                # Removing an image takes its parents along: two at once trip over each other.
                removals = map if kind == "image" else threads.map
                list(removals(partial(_try, remove_one), ids))
            before, found = found, find(docker)
    return found


def _try(remove: Callable[[str], None], thing: str) -> None:
    # What could not be removed is found again, and said in the end.
    with suppress(DockerError):
        remove(thing)


def _is_ours(labels: Mapping[str, str] | None) -> bool:
    labels = labels or {}
    return LABEL in labels or labels.get(NAMESPACE, "").startswith(NAMESPACE_PREFIX)


def _containers(docker: Docker) -> Iterator[Leftover]:
    for row in docker.json("GET", "/containers/json", all="1"):
        if _is_ours(row["Labels"]):
            yield Leftover("container", row["Id"], row["Names"][0])


def _networks(docker: Docker) -> Iterator[Leftover]:
    for row in docker.json("GET", "/networks"):
        if _is_ours(row["Labels"]):
            yield Leftover("network", row["Id"], row["Name"])


def _volumes(docker: Docker) -> Iterator[Leftover]:
    for row in docker.json("GET", "/volumes")["Volumes"] or []:
        if _is_ours(row["Labels"]):
            yield Leftover("volume", row["Name"], row["Name"])


def _images(docker: Docker) -> Iterator[Leftover]:
    for row in docker.json("GET", "/images/json", all="1"):
        tags: list[str] = [tag for tag in row["RepoTags"] or [] if tag != "<none>:<none>"]
        if _is_ours(row["Labels"]) or any(tag.startswith(_REPOSITORIES) for tag in tags):
            yield Leftover("image", row["Id"], _name(row, tags))


def _name(row: Mapping[str, Any], tags: list[str]) -> str:
    return tags[0] if tags else str(row["Id"])
