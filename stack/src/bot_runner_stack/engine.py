"""Questions to the Docker Engine: the address at which containers reach this machine, and what runs."""

import ipaddress
import json
import os
from typing import Any

import aiohttp

from bot_runner_stack.errors import StackError
from bot_runner_worker.model.identity import NAMESPACE

DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"
_TIME_LIMIT = aiohttp.ClientTimeout(total=10)


async def bridge_address() -> str:
    """This machine's address on Docker's default bridge, which containers on any bridge can reach.

    Raises StackError if the Engine does not answer or has no such bridge.
    """
    network = await _get("/networks/bridge")
    for config in network.get("IPAM", {}).get("Config") or []:
        if config.get("Gateway"):
            return str(config["Gateway"])
        # A bridge that the daemon made by itself does not always name its gateway: it is the first address.
        if config.get("Subnet"):
            return str(next(ipaddress.ip_network(config["Subnet"]).hosts()))
    raise StackError("Docker's network `bridge` has no address, so bots cannot reach the Telegram emulator.")


async def running_containers(namespace: str) -> int:
    """The number of running containers of a runner. Raises StackError if the Engine does not answer."""
    filters = {"label": [f"{NAMESPACE}={namespace}"], "status": ["running"]}
    return len(await _get("/containers/json", filters=json.dumps(filters)))


async def _get(path: str, **query: str) -> Any:
    host = os.environ.get("DOCKER_HOST") or DEFAULT_DOCKER_HOST
    scheme, _, address = host.partition("://")
    connector = aiohttp.UnixConnector(address) if scheme == "unix" else aiohttp.TCPConnector()
    base = "http://docker" if scheme == "unix" else f"http://{address}"
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_TIME_LIMIT, raise_for_status=True) as session,
            session.get(base + path, params=query) as response,
        ):
            return await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StackError(
            f"The Docker Engine does not answer at {host}: is it running, and may you use it? ({error})"
        ) from error
