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
    engine: Engine,
    name: str,
    *,
    labels: Mapping[str, str],
    options: Mapping[str, str],
    subnet: str | None = None,
) -> None:
    """Create a bridge network.

    Args:
        engine: The Engine.
        name: Its name.
        labels: Its labels.
        options: Driver options, such as ``com.docker.network.bridge.enable_icc``.
        subnet: Its addresses, such as ``10.231.0.0/29``; the Engine's choice by default.

    Raises:
        EngineError: 409 if the name is taken, 403 if the subnet overlaps with another network's.
    """
    body: dict[str, Any] = {
        "Name": name,
        # Without this, the Engine creates a second network of the same name.
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Labels": dict(labels),
        "Options": dict(options),
    }
    if subnet is not None:
        body["IPAM"] = {"Config": [{"Subnet": subnet}]}
    await engine.json("POST", "networks/create", body=body)


async def reconnect(engine: Engine, name: str, container: str) -> None:
    """Connect a container, running or not, to a network of which it knows no more than the name, if that.

    A stopped one remembers the id of a network that was removed meanwhile, and would refuse to start.
    """
    try:
        await engine.json("POST", f"networks/{name}/disconnect", body={"Container": container, "Force": True})
    except EngineError as error:
        # Somebody has disconnected it already.
        if "is not connected" not in error.message:
            raise
    await engine.json("POST", f"networks/{name}/connect", body={"Container": container})


async def subnets(engine: Engine) -> list[str]:
    """The subnets of all networks on the Engine, ours or not."""
    answer: list[dict[str, Any]] = await engine.json("GET", "networks")
    configs = [config for each in answer for config in (each.get("IPAM") or {}).get("Config") or []]
    return [config["Subnet"] for config in configs if config.get("Subnet")]


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
