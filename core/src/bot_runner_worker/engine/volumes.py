"""API calls for volumes."""

from collections.abc import Mapping
from typing import Any

from bot_runner_worker.engine.client import Engine, label_filter


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


async def list_by_labels(engine: Engine, labels: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Names and labels of all volumes that carry all these labels."""
    answer = await engine.json("GET", "volumes", params={"filters": {"label": label_filter(labels)}})
    found = {str(each["Name"]): _labels(each) for each in answer["Volumes"] or []}
    return {
        volume: carried
        for volume, carried in found.items()
        if all(carried.get(name) == value for name, value in labels.items())
    }


async def remove(engine: Engine, name: str) -> None:
    """Remove a volume. One that is gone is fine."""
    await engine.json("DELETE", f"volumes/{name}", ignored=(404,))


def _labels(volume: dict[str, Any]) -> dict[str, str]:
    return dict(volume.get("Labels") or {})
