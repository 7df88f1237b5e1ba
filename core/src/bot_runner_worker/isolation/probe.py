"""The isolation probe: tests what a bot can reach, from a container with a bot's network.

Whether the firewall's rules are in force shows from anywhere, a worker in a container included: what they
close is silent, and without them even a closed port answers. Two addresses that are always there tell: the
gateway, for what bots send to the host, and a second container on its bridge, for what the host forwards.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from ipaddress import IPv4Address
from typing import Any

from bot_runner_worker.containers import json_answer, probe_container, probe_key, temporary
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, containers, networks
from bot_runner_worker.isolation import host
from bot_runner_worker.isolation.firewall import rules_of
from bot_runner_worker.model.addresses import AllowRule
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import NAMESPACE, PROBE_ROLE, ROLE, BotKey
from bot_runner_worker.networks.bots import BotNetworks
from bot_runner_worker.networks.pool import bridge_options, create_from_pool
from bot_runner_worker.networks.prewarm import PREFIX_LENGTH
from bot_runner_worker.outbound.addresses import Address, parse_address
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

METADATA = tuple(IPv4Address(each) for each in ("169.254.169.254", "100.100.100.200", "168.63.129.16"))
"""Where clouds serve credentials: most of them, Alibaba, Azure's host agent."""

_PROGRAM = resources.files(__package__).joinpath("probe_script.py").read_text()
_STAND_IN = "import time; time.sleep(120)"
_HTTP = 80
_CLOSED_PORTS = range(9, 32)
"""Ports where nothing is expected; whoever listens there answers as well."""

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
        rules: Whether the firewall's rules are in place, as they were read; ``None`` if that is not possible.
        hint: What to do about it, if that does not follow from the level.
    """

    level: Level
    reasons: tuple[str, ...] = ()
    rules: bool | None = None
    hint: str = ""

    @property
    def closed(self) -> bool:
        """Whether the rules are in force: by what bots reach, or as they were read where that is unknown."""
        return self.level is Level.FULL or (self.level is Level.UNKNOWN and bool(self.rules))

    def __str__(self) -> str:
        return str(self.level) + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


@dataclass(frozen=True, slots=True)
class _Target:
    what: str
    address: Address
    port: int
    witness: bool = False
    """Whether any answer at all says that the rules are not in force."""


async def probe_isolation(
    engine: Engine, settings: Settings, again: bool = False, *, metadata: Sequence[IPv4Address] = METADATA
) -> Isolation:
    """Start a container with a bot's network, and test what it reaches; takes a few seconds.

    It tries the gateway, a container on the same bridge, the clouds' metadata, and the Engine's socket. On
    the Engine's host it also tries the gateway and the host's primary address on ports that are opened for
    it, and on those where the host listens anyway. What ``FIREWALL_ALLOW`` opens is not tried.

    Args:
        engine: The Engine.
        settings: The base image has to be there; networks are made as for bots.
        again: Whether the probe before found all closed. This one then makes one network, not two: networks
            take most of its time.
        metadata: Addresses of metadata services, the only ones that are not this machine's own.

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
            await _make_network(engine, settings, bot_networks, key, network, again)
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


async def _make_network(
    engine: Engine, settings: Settings, bot_networks: BotNetworks, key: BotKey, network: str, again: bool
) -> None:
    """A network as bots have it, but for neighbours who reach one another unless our rules forbid it."""
    if not bot_networks.is_own(network):
        await bot_networks.ensure(key, network)
        return
    if not again:
        # Only with a first network without icc does an Engine show the rules what a bridge passes on
        # (bridge-nf-call-iptables), and each bot has one.
        await bot_networks.ensure(key, network)
        await bot_networks.release(network)
    options = bridge_options(settings.bridge_prefix, network.rpartition("-")[2])
    await create_from_pool(
        engine,
        network,
        pool=settings.network_pool,
        prefix_length=PREFIX_LENGTH,
        labels=key.labels(settings.runner_namespace) | {ROLE: "network"},
        options=options | {"com.docker.network.bridge.enable_icc": "true"},
    )


async def _probe(
    engine: Engine, settings: Settings, key: BotKey, network: str, metadata: Sequence[IPv4Address]
) -> Isolation:
    name, config = probe_container(settings, ["python", "-I", "-c", _STAND_IN], network=network)
    gateway = host.bridge_address(await _bridge_of(engine, network))
    primary = host.primary_address()
    # Only with the bridge in sight is this process on the Engine's host, and its addresses the host's own.
    ours = {gateway: "its gateway", primary: "the host's address"} if gateway else {}
    async with (
        temporary(engine, name, config) as stand_in,
        host.listening([address for address in ours if address]) as opened,
    ):
        await containers.start(engine, stand_in)
        beside = await _running(engine, stand_in)
        allowed = rules_of(settings).allow_rules
        witnesses = [
            target
            for what, address in _beside(beside["NetworkSettings"]["Networks"][network])
            if (target := _witness(what, address, allowed))
        ]
        targets = [_Target("cloud metadata", address, _HTTP) for address in metadata]
        for address, port in opened.items():
            ports = dict.fromkeys((port, *host.listening_ports()))
            targets += [_Target(ours[address], address, each) for each in ports]
        targets = [
            each for each in targets if not any(rule.covers(each.address, each.port) for rule in allowed)
        ]
        targets += witnesses
        answer = await _run(engine, settings, key, network, targets)
        await _running(engine, stand_in)
    found = list(zip(targets, answer["answers"], strict=True))
    reached = [target for target, how in found if how == "open"]
    answered = [target for target, how in found if target.witness and how == "refused"]
    reasons = [
        *_in_words(reached),
        *(f"the firewall's rules do not hold for {each.what} {each.address}" for each in answered),
        *(f"a bot has the Engine's socket {path}" for path in answer["sockets"]),
    ]
    if reasons:
        return Isolation(Level.DEGRADED, tuple(reasons))
    if not witnesses:
        return Isolation(Level.UNKNOWN, ("FIREWALL_ALLOW opens all that could be tried",))
    return Isolation(Level.FULL)


async def _running(engine: Engine, container: str) -> dict[str, Any]:
    found = await containers.inspect(engine, container)
    if found is None or not found["State"]["Running"]:
        raise ValueError("the container beside it has ended")  # and would be silent for that reason
    return found


def _beside(network: dict[str, Any]) -> Iterator[tuple[str, Address]]:
    for what, names in (
        ("its gateway", ("Gateway", "IPv6Gateway")),
        ("a container on its bridge", ("IPAddress", "GlobalIPv6Address")),
    ):
        for name in names:
            if text := network.get(name):
                yield what, parse_address(text)


def _witness(what: str, address: Address, allowed: Sequence[AllowRule]) -> _Target | None:
    ports = (port for port in _CLOSED_PORTS if not any(rule.covers(address, port) for rule in allowed))
    port = next(ports, None)
    return None if port is None else _Target(what, address, port, witness=True)


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
    ports: dict[tuple[str, Address], list[str]] = {}
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
