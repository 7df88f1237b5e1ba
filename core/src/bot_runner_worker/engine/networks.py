"""Networks: created once under one name, labelled, removed when empty."""

from collections.abc import Mapping
from typing import Any

from bot_runner_worker.engine.client import Engine, EngineError


async def inspect(engine: Engine, name: str) -> dict[str, Any] | None:
    """The Engine's description of a network, or ``None``."""
    try:
        answer: dict[str, Any] = await engine.json("GET", f"networks/{name}")
    except EngineError as error:
        if error.not_found:
            return None
        raise
    return answer


async def create_bridge(
    engine: Engine, name: str, labels: Mapping[str, str], options: Mapping[str, str]
) -> None:
    """Create a bridge network; one that is there already is fine.

    Args:
        options: Driver options, such as ``com.docker.network.bridge.enable_icc``.
    """
    body = {
        "Name": name,
        # Without this, the Engine creates a second network of the same name.
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Labels": dict(labels),
        "Options": dict(options),
    }
    try:
        await engine.json("POST", "networks/create", body=body)
    except EngineError as error:
        if not error.conflict:
            raise


async def remove(engine: Engine, name: str) -> None:
    """Remove a network. One that is gone, or still in use, is left as it is."""
    try:
        await engine.json("DELETE", f"networks/{name}")
    except EngineError as error:
        if not (error.not_found or error.status in (403, 409)):
            raise


async def list_by_labels(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All networks that carry all these labels."""
    wanted = [f"{name}={value}" for name, value in labels.items()]
    answer: list[dict[str, Any]] = await engine.json("GET", "networks", params={"filters": {"label": wanted}})
    return answer
