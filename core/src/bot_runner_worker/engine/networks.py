"""API calls for networks."""

from collections.abc import Mapping
from typing import Any

from bot_runner_worker.engine.client import Engine, EngineError, label_filter


async def inspect(engine: Engine, name: str) -> dict[str, Any] | None:
    """The Engine's description of a network, or ``None``."""
    answer: dict[str, Any] | None = await engine.json("GET", f"networks/{name}", ignored=(404,))
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
        # Whatever the Engine's default-network-opts say: no bot is reached, or reaches anything, over IPv6.
        "EnableIPv6": False,
        "Labels": dict(labels),
        "Options": dict(options),
    }
    if subnet is not None:
        body["IPAM"] = {"Config": [{"Subnet": subnet}]}
    await engine.json("POST", "networks/create", body=body)


async def reconnect(engine: Engine, name: str, container: str) -> None:
    """Connect a container, running or not, to the network that has this name now.

    A stopped container remembers the id of a network that was removed meanwhile, and would refuse to start.
    """
    try:
        await engine.json("POST", f"networks/{name}/disconnect", body={"Container": container, "Force": True})
    except EngineError as error:
        # Somebody has disconnected it already.
        if "is not connected" not in error.message:
            raise
    await engine.json("POST", f"networks/{name}/connect", body={"Container": container})


async def subnets(engine: Engine) -> list[str]:
    """The subnets of all networks on the Engine."""
    answer: list[dict[str, Any]] = await engine.json("GET", "networks")
    configs = [config for each in answer for config in (each.get("IPAM") or {}).get("Config") or []]
    return [config["Subnet"] for config in configs if config.get("Subnet")]


async def remove(engine: Engine, name: str) -> None:
    """Remove a network. One that is gone, or still in use, is left as it is."""
    await engine.json("DELETE", f"networks/{name}", ignored=(403, 404, 409))


async def list_by_labels(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All networks that carry all these labels."""
    params = {"filters": {"label": label_filter(labels)}}
    answer: list[dict[str, Any]] = await engine.json("GET", "networks", params=params)
    return answer
