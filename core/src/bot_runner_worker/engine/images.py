"""API calls for images."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from bot_runner_worker.engine.client import Engine, EngineError, label_filter
from bot_runner_worker.model.image import Image


async def inspect(engine: Engine, reference: str) -> Image | None:
    """The image behind a reference or id, or ``None``."""
    answer = await engine.json("GET", f"{_path(reference)}/json", ignored=(404,))
    if answer is None:
        return None
    config = answer.get("Config") or {}
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    return Image(
        id=answer["Id"],
        reference=reference,
        labels=config.get("Labels") or {},
        volumes=tuple(config.get("Volumes") or {}),
        environment=environment,
        platform=f"{answer.get('Os', '')}/{answer.get('Architecture', '')}",
        size=int(answer.get("Size", 0)),
        tags=tuple(answer.get("RepoTags") or ()),
        triggers=tuple(config.get("OnBuild") or ()),
        user=config.get("User") or "",
    )


async def config(engine: Engine, image_id: str) -> dict[str, Any]:
    """An image's configuration as the API has it, for a container or another image.

    Raises:
        EngineError: 404 if there is none.
    """
    return dict((await engine.json("GET", f"{_path(image_id)}/json"))["Config"] or {})


async def find_child(engine: Engine, parent: str, labels: Mapping[str, str]) -> str | None:
    """The id of an image that was made of another one; ``None`` if there is none.

    Args:
        engine: The Engine.
        parent: Id of the other image.
        labels: What it carries. Images that are made of it carry the same.
    """
    filters = {"label": label_filter(labels)}
    rows = await engine.json("GET", "images/json", params={"all": True, "filters": filters})
    return next((row["Id"] for row in rows if row.get("ParentId") == parent), None)


async def layer_size(engine: Engine, short_id: str, labels: Mapping[str, str]) -> int:
    """Bytes that an image adds to the one that it was built on.

    0 for one that is gone, or without these labels, such as the image that a build begins with.

    Args:
        engine: The Engine.
        short_id: As the builder prints it.
        labels: Labels of the build's images.
    """
    answer = await engine.json("GET", f"{_path(short_id)}/json", ignored=(404,))
    if answer is None or not labels.items() <= ((answer.get("Config") or {}).get("Labels") or {}).items():
        return 0
    parent = await inspect(engine, answer["Parent"]) if answer.get("Parent") else None
    return max(0, int(answer.get("Size", 0)) - (parent.size if parent is not None else 0))


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image among all that the Engine has.

    Args:
        id: Content id.
        parent: Id of the image that it was built on; empty for one that was pulled.
        size: Bytes of all its layers.
        tags: All its tags.
        digests: References by digest, ``repository@sha256:…``: under these it was pulled or pushed.
    """

    id: str
    parent: str
    size: int
    tags: tuple[str, ...]
    digests: tuple[str, ...]


async def list_all(engine: Engine) -> list[StoredImage]:
    """All images, those of build steps among them; 20 ms for a hundred."""
    rows = await engine.json("GET", "images/json", params={"all": True})
    return [
        StoredImage(
            row["Id"],
            row.get("ParentId", ""),
            int(row.get("Size", 0)),
            tuple(each for each in row.get("RepoTags") or () if each != "<none>:<none>"),
            tuple(each for each in row.get("RepoDigests") or () if each != "<none>@<none>"),
        )
        for row in rows
    ]


async def last_tagged(engine: Engine, reference: str) -> datetime | None:
    """When an image was last tagged, by the Engine's clock; ``None`` if it is gone.

    For an image that was never tagged, it is when it was made.
    """
    answer = await engine.json("GET", f"{_path(reference)}/json", ignored=(404,))
    if answer is None:
        return None
    tagged = str((answer.get("Metadata") or {}).get("LastTagTime", ""))
    moment = tagged if tagged and not tagged.startswith("0001-") else answer["Created"]
    return datetime.fromisoformat(moment).astimezone(UTC)


async def list_by_labels(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All tagged images that carry all these labels."""
    answer: list[dict[str, Any]] = await engine.json(
        "GET", "images/json", params={"filters": {"label": label_filter(labels)}}
    )
    return answer


async def list_by_repository(engine: Engine, repository: str) -> list[dict[str, Any]]:
    """All images that have a tag in this repository."""
    answer: list[dict[str, Any]] = await engine.json(
        "GET", "images/json", params={"filters": {"reference": [repository]}}
    )
    return answer


async def tag(engine: Engine, image_id: str, reference: str) -> None:
    """Tag an image."""
    repository, _, name = reference.rpartition(":")
    await engine.json("POST", f"images/{image_id}/tag", params={"repo": repository, "tag": name})


async def list_untagged(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Images without a tag and without children that carry all these labels."""
    filters = {"dangling": ["true"], "label": label_filter(labels)}
    answer: list[dict[str, Any]] = await engine.json("GET", "images/json", params={"filters": filters})
    return answer


async def remove(engine: Engine, reference: str, *, all_tags: bool = False) -> None:
    """Remove a tag, or an image; one that is gone or in use is fine.

    An image goes with its last tag.

    Args:
        engine: The Engine.
        reference: A tag, or an id.
        all_tags: Remove an image with several tags by its id.
    """
    try:
        await engine.json("DELETE", _path(reference), params={"force": all_tags})
    except EngineError as error:
        if not (error.conflict or _is_gone(error)):
            raise


async def untag(engine: Engine, reference: str) -> bool:
    """Remove one reference of an image; returns whether it is gone.

    An image goes with its last reference, which the Engine keeps if a container, running or not, is made of
    the image.

    Args:
        engine: The Engine.
        reference: A tag, or ``repository@sha256:…``.
    """
    try:
        await engine.json("DELETE", _path(reference))
    except EngineError as error:
        if error.conflict:
            return False
        if not _is_gone(error):
            raise
    return True


def _path(reference: str) -> str:
    return f"images/{quote(reference, safe=':/@')}"


def _is_gone(error: EngineError) -> bool:
    # The second: another call removes it at this moment (500; seen on 20.10).
    return error.not_found or "unrecognized image ID" in error.message
