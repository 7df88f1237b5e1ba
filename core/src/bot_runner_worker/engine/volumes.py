"""Volumes. Creating one is an atomic test-and-set, see :mod:`bot_runner_worker.coordination`."""

from collections.abc import Mapping
from typing import Any

from bot_runner_worker.engine.client import Engine, EngineError


async def create(engine: Engine, name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Create a volume, unless the name is taken.

    Args:
        engine: The Engine.
        name: Its name.
        labels: Its labels.

    Returns:
        The labels of the volume that has the name now: another's, if it was taken.
    """
    body = {"Name": name, "Labels": dict(labels)}
    return _labels(await engine.json("POST", "volumes/create", body=body))


async def labels_of(engine: Engine, name: str) -> dict[str, str] | None:
    """The labels of a volume, or ``None`` if there is none of this name."""
    try:
        return _labels(await engine.json("GET", f"volumes/{name}"))
    except EngineError as error:
        if error.not_found:
            return None
        raise


async def list_by_labels(engine: Engine, labels: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Names and labels of all volumes that carry all these labels."""
    wanted = [f"{name}={value}" for name, value in labels.items()]
    answer = await engine.json("GET", "volumes", params={"filters": {"label": wanted}})
    found = {str(each["Name"]): _labels(each) for each in answer["Volumes"] or []}
    return {
        volume: carried
        for volume, carried in found.items()
        if all(carried.get(name) == value for name, value in labels.items())
    }


async def remove(engine: Engine, name: str) -> None:
    """Remove a volume. One that is gone is fine."""
    try:
        await engine.json("DELETE", f"volumes/{name}")
    except EngineError as error:
        if not error.not_found:
            raise


def _labels(volume: dict[str, Any]) -> dict[str, str]:
    return dict(volume.get("Labels") or {})
