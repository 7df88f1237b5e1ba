"""Containers that checks make and remove: nobody takes them for bots."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.isolation.probe import PROBE_ROLE
from bot_runner_worker.model.identity import ROLE, BotKey
from bot_runner_worker.settings import Settings

_MEMORY = 64 * 1024 * 1024


def throwaway(
    settings: Settings, command: Sequence[str], *, storage: Mapping[str, str] | None = None
) -> tuple[str, dict[str, Any]]:
    """Name and configuration of a container of the base image, confined as bots are, without a network.

    Args:
        settings: Base image, runtime and namespace.
        command: What it runs.
        storage: Options of the storage driver.
    """
    # No tenant can have this key: a user id is never empty.
    key = BotKey("", f"{PROBE_ROLE}-{secrets.token_hex(6)}")
    host: dict[str, Any] = {
        # The Engine removes it after its end, even if this process is killed now.
        "AutoRemove": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": True,
        "Memory": _MEMORY,
        "MemorySwap": _MEMORY,
        "PidsLimit": 64,
        "NetworkMode": "none",
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
    }
    if settings.container_runtime is not None:
        host["Runtime"] = settings.container_runtime
    if storage is not None:
        host["StorageOpt"] = dict(storage)
    config = {
        "Image": settings.base_image,
        "Entrypoint": list(command),
        "Cmd": [],
        "User": "65534:65534",
        "Labels": key.labels(settings.runner_namespace) | {ROLE: PROBE_ROLE},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }
    return key.container_name(settings.runner_namespace), config


@asynccontextmanager
async def discarded(engine: Engine, name: str) -> AsyncIterator[None]:
    """Remove a container of this name in the end, if there is one."""
    try:
        yield
    finally:
        await asyncio.shield(containers.remove(engine, name))
