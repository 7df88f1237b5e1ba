"""Folders of a service: those in memory are taken over, volumes become such, the host's are refused."""

import re
from pathlib import PurePosixPath
from typing import Any

from bot_runner_compose_service.errors import COMPOSE_KEY_REFUSED, invalid
from bot_runner_worker.plugin import Rejected

DEFAULT_SIZE = 64 * 1024**2
"""The same as that of a volume that an image declares."""

_MAX_SIZE = 1024**4
_UNITS = {"": 1, "b": 1, "k": 1024, "kb": 1024, "m": 1024**2, "mb": 1024**2, "g": 1024**3, "gb": 1024**3}
_CLOSED = ("/dev", "/proc", "/sys")


def folders_in_memory(tmpfs: Any, volumes: Any) -> tuple[dict[str, int], list[str]]:
    """Sizes in bytes by path, and notes for the bot's author.

    Raises:
        Rejected: ``COMPOSE_KEY_REFUSED`` for a folder of the host, ``INVALID_COMPOSE_FILE``.
    """
    found: dict[str, int] = {}
    for each in [tmpfs] if isinstance(tmpfs, str) else _list("tmpfs", tmpfs):
        path, _, options = _text("tmpfs", each).partition(":")
        size = re.search(r"(?:^|,)size=([^,]+)", options)
        found[_path("tmpfs", path)] = _size(size[1]) if size else DEFAULT_SIZE
    notes = []
    for each in _list("volumes", volumes):
        path, size_of_it, is_volume = _mapping(each) if isinstance(each, dict) else _short(each)
        found[path] = size_of_it
        if is_volume:
            notes.append(
                f"the volume at {path} is a folder in memory here: what is in it is gone with the bot"
            )
    return found, notes


def _short(value: Any) -> tuple[str, int, bool]:
    source, colon, rest = _text("volumes", value).partition(":")
    if not colon:
        return _path("volumes", source), DEFAULT_SIZE, True
    if re.match(r"[./~\\]|[A-Za-z]\Z", source):
        raise _refused(source)
    return _path("volumes", rest.partition(":")[0]), DEFAULT_SIZE, True


def _mapping(value: dict[str, Any]) -> tuple[str, int, bool]:
    kind = value.get("type", "volume")
    if kind not in ("volume", "tmpfs"):
        raise _refused(str(value.get("source", kind)))
    options = value.get("tmpfs")
    size = options.get("size") if isinstance(options, dict) else None
    path = _path("volumes", _text("volumes", value.get("target")))
    return path, _size(str(size)) if size is not None else DEFAULT_SIZE, kind == "volume"


def _refused(source: str) -> Rejected:
    hint = "Put the files into the image, or send settings as env_vars: nothing of the host is mounted."
    return Rejected(
        COMPOSE_KEY_REFUSED,
        f"The service mounts {source[:100]!r} of the host (volumes).",
        hint=f"volumes: {hint}",
        details={"refused": {"volumes": hint}},
    )


def _list(key: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 50:
        raise invalid(f"has {key} that are no list of at most 50")
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise invalid(f"has an entry in {key} that is no text")
    if "$" in value:
        raise invalid(f"has a variable in {key}", "Write the path itself.")
    return value


def _path(key: str, text: str) -> str:
    path = PurePosixPath(text)
    closed = any(path.is_relative_to(folder) for folder in _CLOSED)
    if (
        not text.startswith("/")
        or text.startswith("//")
        or ".." in path.parts
        or not text.isprintable()
        or closed
    ):
        raise invalid(
            f"has a path in {key} that is not an absolute one of the container's own: {text[:80]!r}"
        )
    if str(path) == "/" or "," in text:
        raise invalid(f"has a path in {key} that cannot be a folder in memory: {text[:80]!r}")
    return str(path)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d{1,15})([a-z]{0,2})", text.lower())
    size = int(found[1]) * _UNITS.get(found[2], 0) if found else 0
    # The kernel takes a size of 0 for "unlimited".
    if not 4096 <= size <= _MAX_SIZE:
        raise invalid(f"has a size {text[:40]!r} that is none", "Write it as 64m or 1g.")
    return size
