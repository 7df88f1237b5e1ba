"""Finding out from inside a container, made and connected as a bot's, what a bot can reach."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from ipaddress import IPv4Address
from typing import Any

from bot_runner_worker.engine import Engine, EngineError, containers, logs, networks
from bot_runner_worker.isolation import host
from bot_runner_worker.isolation.firewall import rules_of
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import NAMESPACE, ROLE, BotKey
from bot_runner_worker.networks.bots import BotNetworks
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

PROBE_ROLE = "isolation-probe"
"""The role that the label says; neither the sweeper nor the list of bots takes such a container for a bot."""

METADATA = tuple(IPv4Address(each) for each in ("169.254.169.254", "100.100.100.200", "168.63.129.16"))
"""Where clouds serve credentials: most of them, Alibaba, Azure's host agent."""

_HTTP = 80
_SECONDS = 60.0
_LEFT_OVER_AFTER = 600  # seconds; a younger one may be another worker's


class Level(StrEnum):
    """How well bots are kept apart from the host and what is around it."""

    FULL = "full"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What the probe found.

    Args:
        level: ``full`` only if each path was tried and none is open.
        reasons: What is open, or could not be tried, in words.
    """

    level: Level
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.level) + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


@dataclass(frozen=True, slots=True)
class _Target:
    what: str
    address: IPv4Address
    port: int


async def probe_isolation(
    engine: Engine, settings: Settings, *, metadata: Sequence[IPv4Address] = METADATA
) -> Isolation:
    """Start a container as bots are started, and see what it reaches; takes a few seconds.

    Tried are the gateway and the host's primary address, on ports that are opened for it and on those where
    the host listens anyway; the clouds' metadata; and the Engine's socket. Whatever ``FIREWALL_ALLOW`` opens
    is not held against it.

    Args:
        engine: The Engine.
        settings: The base image has to be there; networks are made as for bots.
        metadata: Addresses that stand for metadata services.

    Raises:
        Unavailable: ``NETWORK_POOL_EMPTY``, ``BASE_IMAGE_UNAVAILABLE``, ``ENGINE_FAILED`` or
            ``ENGINE_UNAVAILABLE``.
    """
    await _remove_left_over(engine, settings)
    # No tenant can have this key: a user id is never empty.
    bot = BotKey("", f"{PROBE_ROLE}-{secrets.token_hex(6)}")
    bot_networks = BotNetworks(engine, settings)
    network = bot_networks.choose(bot)
    try:
        async with asyncio.timeout(_SECONDS):
            await bot_networks.ensure(bot, network)
            return await _probe(engine, settings, bot, network, metadata)
    except (EngineError, TimeoutError, ValueError) as error:
        missing = isinstance(error, EngineError) and error.not_found
        raise Unavailable(
            Code.BASE_IMAGE_UNAVAILABLE if missing else Code.ENGINE_FAILED,
            f"The isolation probe did not run: {str(error) or 'it took too long'}.",
            hint=f"It takes a Docker Engine, and Python in the image {settings.base_image}.",
        ) from error
    finally:
        await asyncio.shield(
            _discard(engine, bot_networks, network, bot.container_name(settings.runner_namespace))
        )


async def _probe(
    engine: Engine, settings: Settings, bot: BotKey, network: str, metadata: Sequence[IPv4Address]
) -> Isolation:
    gateway = host.bridge_address(await _bridge_of(engine, network))
    primary = host.primary_address()
    # Only with the bridge in sight is this process on the Engine's host, and its addresses the host's own.
    ours = {gateway: "its gateway", primary: "the host's address"} if gateway else {}
    async with host.listening([address for address in ours if address]) as opened:
        targets = [_Target("cloud metadata", address, _HTTP) for address in metadata]
        for address, port in opened.items():
            ports = dict.fromkeys((port, *host.listening_ports()))
            targets += [_Target(ours[address], address, each) for each in ports]
        allowed = rules_of(settings).openings
        targets = [
            each
            for each in targets
            if not any(opening.covers(each.address, each.port) for opening in allowed)
        ]
        seen = await _run_inside(engine, settings, bot, network, targets)
    reached = [target for target, answered in zip(targets, seen["reached"], strict=True) if answered]
    reasons = [*_in_words(reached), *(f"a bot has the Engine's socket {path}" for path in seen["sockets"])]
    if reasons:
        return Isolation(Level.DEGRADED, tuple(reasons))
    if gateway is None or not opened:
        return Isolation(
            Level.UNKNOWN,
            (
                "the worker is not in the network of the Engine's host, so that the gateway and the host's "
                "addresses could not be tried",
            ),
        )
    return Isolation(Level.FULL)


def _in_words(reached: list[_Target]) -> list[str]:
    ports: dict[tuple[str, IPv4Address], list[str]] = {}
    for target in reached:
        ports.setdefault((target.what, target.address), []).append(str(target.port))
    return [
        f"a bot reaches {what} {address} on port {', '.join(found)}"
        for (what, address), found in ports.items()
    ]


async def _bridge_of(engine: Engine, network: str) -> str:
    found = await networks.inspect(engine, network) or {}
    options = found.get("Options") or {}
    # The Engine's own names for bridges: br- and the beginning of the network's id.
    return str(options.get("com.docker.network.bridge.name") or f"br-{found.get('Id', '')[:12]}")


async def _run_inside(
    engine: Engine, settings: Settings, bot: BotKey, network: str, targets: list[_Target]
) -> dict[str, Any]:
    config = _container(settings, bot, network, targets)
    container = await containers.create(engine, bot.container_name(settings.runner_namespace), config)
    await containers.start(engine, container)
    while True:
        lines = await logs.read(engine, container, tail=20, max_bytes=64 * 1024)
        for line in lines:
            if line.complete and line.text.startswith("{"):
                answer: dict[str, Any] = json.loads(line.text)
                return answer
        state = await containers.inspect(engine, container)
        if state is None or state["State"]["Status"] == "exited":
            raise ValueError("; ".join(line.text for line in lines[-3:]) or "it printed nothing")
        await asyncio.sleep(0.2)


def _container(settings: Settings, bot: BotKey, network: str, targets: list[_Target]) -> dict[str, Any]:
    return {
        "Image": settings.base_image,
        "Entrypoint": ["python", "-I", "-c", _program()],
        "Cmd": [],
        "User": "65534:65534",
        "Env": ["TARGETS=" + json.dumps([(str(each.address), each.port) for each in targets])],
        "Labels": bot.labels(settings.runner_namespace) | {ROLE: PROBE_ROLE},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            # The Engine removes it after its end, even if this process is killed now.
            "AutoRemove": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "Memory": 64 * 1024 * 1024,
            "MemorySwap": 64 * 1024 * 1024,
            "PidsLimit": 64,
            "NetworkMode": network,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        },
    }


def _program() -> str:
    return resources.files(__package__).joinpath("probe_script.py").read_text()


async def _discard(engine: Engine, bot_networks: BotNetworks, network: str, container: str) -> None:
    try:
        await containers.remove(engine, container)
        await bot_networks.release(network)
    except (EngineError, Unavailable) as error:
        # The Engine removes the container, and the sweeper the network.
        logger.warning("what the isolation probe made stays for now: %s", error)


async def _remove_left_over(engine: Engine, settings: Settings) -> None:
    """Containers of probes that were killed before they were started; the Engine removes all others."""
    mine = {NAMESPACE: settings.runner_namespace, ROLE: PROBE_ROLE}
    try:
        for row in await containers.list_by_labels(engine, mine):
            if time.time() - row["Created"] > _LEFT_OVER_AFTER:
                await containers.remove(engine, row["Id"])
    except EngineError as error:
        logger.debug("left-over probes were not removed: %s", error)
