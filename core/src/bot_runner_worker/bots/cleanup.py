"""Removing what is left over besides the bots' containers: networks, steps of builds, layers, probes."""

import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from bot_runner_worker.engine import Engine, containers, images, networks, volumes
from bot_runner_worker.isolation.probe import PROBE_ROLE
from bot_runner_worker.model.identity import (
    BOT_ID,
    BUILD_ROLE,
    INSTANCE,
    NAMESPACE,
    PRESENCE_ROLE,
    ROLE,
    USER_ID,
    BotKey,
)
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

PATIENCE = 600.0
"""Seconds for which something has to be seen before it is left over, where nothing else tells."""

AtWork = Callable[[], Awaitable[bool]]


class Sweeper:
    """Finds what is left over by labels alone, and touches nothing that does not carry them.

    No clock on the wall is asked: what matters is whether anybody works on something now, or for how long
    this process has seen it.

    Args:
        engine: The Engine.
        settings: The namespace, and how long a build may take.
        ahead: This worker's networks that lie ready.
    """

    def __init__(self, engine: Engine, settings: Settings, ahead: PrewarmedNetworks | None = None) -> None:
        self._ahead = ahead
        self._engine = engine
        self._namespace = settings.runner_namespace
        self._build_seconds = float(settings.build_timeout_seconds)
        self._first_seen: dict[str, float] = {}

    async def sweep(self, at_work: AtWork) -> int:
        """Remove what is left over; returns how many things that were.

        Args:
            at_work: Tells whether any worker is working on anything. Otherwise no build goes on.
        """
        mine = {NAMESPACE: self._namespace}
        steps = await containers.list_by_labels(self._engine, mine | {ROLE: BUILD_ROLE})
        layers = await images.list_untagged(self._engine, mine)
        probes = await containers.list_by_labels(self._engine, mine | {ROLE: PROBE_ROLE})
        probed = [
            network
            for network in await networks.list_by_labels(self._engine, mine | {ROLE: "network"})
            # No tenant's id is empty, but the probe's is.
            if network["Labels"].get(USER_ID) == ""
        ]
        self._note([each["Id"] for each in (*steps, *layers, *probes, *probed)])
        # Asked after the lists: what is in them and belongs to a build that goes on was claimed before.
        builds_go_on = bool(steps or layers) and await at_work()
        swept = 0
        for each in steps:
            if not builds_go_on or self._seen_for(each) > self._build_seconds + PATIENCE:
                logger.info(
                    "removing the container %s: the build that it belonged to is over", each["Id"][:12]
                )
                await containers.remove(self._engine, each["Id"])
                swept += 1
        for each in layers:
            if not builds_go_on or self._seen_for(each) > self._build_seconds + PATIENCE:
                await images.remove(self._engine, each["Id"])
                swept += 1
        for each in probes:
            if self._seen_for(each) > PATIENCE:
                await containers.remove(self._engine, each["Id"])
                swept += 1
        for each in probed:
            if self._seen_for(each) > PATIENCE:
                await networks.remove(self._engine, each["Id"])
                swept += 1
        return swept + await self._sweep_networks_ahead()

    async def _sweep_networks_ahead(self) -> int:
        """Remove networks made ahead that no bot has, and no worker that is there holds ready."""
        swept = 0
        mine = {NAMESPACE: self._namespace}
        found = [
            each
            for each in await networks.list_by_labels(self._engine, mine | {ROLE: "network"})
            if INSTANCE in each["Labels"]
        ]
        if not found:
            return 0
        # In this order: what lies ready was made while its worker was there, and a container comes after it.
        present = await volumes.list_by_labels(self._engine, mine | {ROLE: PRESENCE_ROLE})
        instances = {labels.get(INSTANCE) for labels in present.values()}
        used = await self._used_networks()
        for each in found:
            name, instance = each["Name"], each["Labels"][INSTANCE]
            own = self._ahead is not None and instance == self._ahead.instance
            ready = self._ahead is not None and self._ahead.has(name) if own else instance in instances
            if name not in used and not ready:
                await networks.remove(self._engine, each["Id"])
                swept += 1
        return swept

    async def _used_networks(self) -> set[str]:
        rows = await containers.list_by_labels(self._engine, {NAMESPACE: self._namespace})
        return {row["HostConfig"]["NetworkMode"] for row in rows}

    def _note(self, ids: list[str]) -> None:
        now = monotonic()
        self._first_seen = {each: self._first_seen.get(each, now) for each in ids}

    def _seen_for(self, found: dict[str, Any]) -> float:
        return monotonic() - self._first_seen[found["Id"]]

    async def bots_with_unused_networks(self) -> set[BotKey]:
        """The bots for which a network was made that no container refers to."""
        mine = {NAMESPACE: self._namespace, ROLE: "network"}
        found = await networks.list_by_labels(self._engine, mine)
        used = await self._used_networks()
        labels = [network["Labels"] for network in found if network["Name"] not in used]
        # A network without a bot id is shared, or lies ready; one without a user is a probe's.
        return {BotKey.from_labels(each) for each in labels if BOT_ID in each and each.get(USER_ID)}
