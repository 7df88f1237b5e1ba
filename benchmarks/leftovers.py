"""What a run has made on the Engine, found by labels and names, and removed.

There is one run at a time on a machine, so a run may also take away what one that was killed has left.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from benchmarks.docker_api import Docker, DockerError
from bot_runner_worker.model.identity import NAMESPACE

LABEL = "bot-runner-bench"
LABELS = {LABEL: "1"}
"""On everything that is made by hand, and by the base image on every image and container besides."""

NAMESPACE_PREFIX = "bench-"
"""Of the runners' namespaces."""

REPOSITORY = "bot-runner-bench"
_REPOSITORIES = (f"{REPOSITORY}/", f"bot-runner/{NAMESPACE_PREFIX}")

REMOVALS_AT_ONCE = 4


class Leftover(NamedTuple):
    """Something on the Engine: its kind in the Engine's paths, and its id."""

    kind: str
    id: str


def find(docker: Docker) -> list[Leftover]:
    """All that runs of the benchmark have made."""
    there = {
        "containers": docker.json("GET", "/containers/json", all="1"),
        "networks": docker.json("GET", "/networks"),
        "volumes": docker.json("GET", "/volumes")["Volumes"] or [],
        "images": docker.json("GET", "/images/json", all="1"),
    }
    return [
        Leftover(kind, row.get("Id") or row["Name"])
        for kind, rows in there.items()
        for row in rows
        if _is_ours(row)
    ]


def sweep(docker: Docker) -> list[Leftover]:
    """Remove all of it; returns what is still there afterwards."""

    def remove(thing: Leftover) -> None:
        # What could not be removed is found again, and said in the end.
        with suppress(DockerError):
            docker.remove(thing.id, thing.kind)

    found = find(docker)
    before = None
    with ThreadPoolExecutor(REMOVALS_AT_ONCE) as threads:
        # An image that others were built on goes after them.
        while found and found != before:
            for kind in ("containers", "networks", "volumes", "images"):
                # Removing an image takes its parents along: two at once trip over each other.
                removals = map if kind == "images" else threads.map
                list(removals(remove, [each for each in found if each.kind == kind]))
            before, found = found, find(docker)
    return found


def _is_ours(row: Mapping[str, Any]) -> bool:
    labels = row["Labels"] or {}
    marked = LABEL in labels or labels.get(NAMESPACE, "").startswith(NAMESPACE_PREFIX)
    return marked or any(tag.startswith(_REPOSITORIES) for tag in row.get("RepoTags") or [])
