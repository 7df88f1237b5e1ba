"""The isolation probe: tests what a bot can reach, from a container with a bot's network."""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from ipaddress import IPv4Address
from typing import Any

from bot_runner_worker.containers import json_answer, probe_container, probe_key
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, containers, networks
from bot_runner_worker.isolation import host
from bot_runner_worker.isolation.firewall import rules_of
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import NAMESPACE, PROBE_ROLE, ROLE, BotKey
from bot_runner_worker.networks.bots import BotNetworks
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

METADATA = tuple(IPv4Address(each) for each in ("169.254.169.254", "100.100.100.200", "168.63.129.16"))
"""Where clouds serve credentials: most of them, Alibaba, Azure's host agent."""

_PROGRAM = resources.files(__package__).joinpath("probe_script.py").read_text()
_HTTP = 80
_SECONDS = 60.0
_LEFT_OVER_AFTER = 600  # seconds; a younger one may belong to another process


class Level(StrEnum):
    """How well bots are isolated from the host and its networks."""

    FULL = "full"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Isolation:
    """The probe's result.

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
    """Start a container with a bot's network, and test what it reaches; takes a few seconds.

    It tries the gateway and the host's primary address, on ports that are opened for it and on those where
    the host listens anyway, the clouds' metadata, and the Engine's socket. What ``FIREWALL_ALLOW`` opens is
    not tried.

    Args:
        engine: The Engine.
        settings: The base image has to be there; networks are made as for bots.
        metadata: Addresses of metadata services.

    Raises:
        Unavailable: ``NETWORK_POOL_EMPTY``, ``BASE_IMAGE_UNAVAILABLE``, ``ENGINE_FAILED`` or
            ``ENGINE_UNAVAILABLE``.
    """
    await _remove_left_over(engine, settings)
    key = probe_key()
    bot_networks = BotNetworks(engine, settings)
    network = bot_networks.choose(key)
    try:
        async with asyncio.timeout(_SECONDS):
            await bot_networks.ensure(key, network)
            return await _probe(engine, settings, key, network, metadata)
    except (EngineError, TimeoutError, ValueError) as error:
        missing = isinstance(error, EngineError) and error.not_found
        raise Unavailable(
            Code.BASE_IMAGE_UNAVAILABLE if missing else Code.ENGINE_FAILED,
            f"The isolation probe did not run: {str(error) or 'it took too long'}.",
            hint=f"It takes a Docker Engine, and Python in the image {settings.base_image}.",
        ) from error
    finally:
        await asyncio.shield(_release(bot_networks, network))


async def _probe(
    engine: Engine, settings: Settings, key: BotKey, network: str, metadata: Sequence[IPv4Address]
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
        allowed = rules_of(settings).allow_rules
        targets = [
            each for each in targets if not any(rule.covers(each.address, each.port) for rule in allowed)
        ]
        answer = await _run(engine, settings, key, network, targets)
    reached = [target for target, answered in zip(targets, answer["reached"], strict=True) if answered]
    reasons = [*_in_words(reached), *(f"a bot has the Engine's socket {path}" for path in answer["sockets"])]
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


async def _bridge_of(engine: Engine, network: str) -> str:
    found = await networks.inspect(engine, network) or {}
    options = found.get("Options") or {}
    # The Engine's own names for bridges: br- and the beginning of the network's id.
    return str(options.get("com.docker.network.bridge.name") or f"br-{found.get('Id', '')[:12]}")


async def _run(
    engine: Engine, settings: Settings, key: BotKey, network: str, targets: list[_Target]
) -> dict[str, Any]:
    name, config = probe_container(
        settings,
        ["python", "-I", "-c", _PROGRAM],
        key=key,
        network=network,
        environment={"TARGETS": json.dumps([(str(each.address), each.port) for each in targets])},
    )
    return await json_answer(engine, name, config, seconds=_SECONDS)


def _in_words(reached: list[_Target]) -> list[str]:
    ports: dict[tuple[str, IPv4Address], list[str]] = {}
    for target in reached:
        ports.setdefault((target.what, target.address), []).append(str(target.port))
    return [
        f"a bot reaches {what} {address} on port {', '.join(found)}"
        for (what, address), found in ports.items()
    ]


async def _release(bot_networks: BotNetworks, network: str) -> None:
    try:
        await bot_networks.release(network)
    except ENGINE_TROUBLE as error:
        logger.warning("the network %s is left to the sweep: %s", network, error)


async def _remove_left_over(engine: Engine, settings: Settings) -> None:
    """Remove containers of checks whose process was killed."""
    labels = {NAMESPACE: settings.runner_namespace, ROLE: PROBE_ROLE}
    try:
        for row in await containers.list_by_labels(engine, labels):
            if time.time() - row["Created"] > _LEFT_OVER_AFTER:
                await containers.remove(engine, row["Id"])
    except EngineError as error:
        logger.debug("left-over probes were not removed: %s", error)
