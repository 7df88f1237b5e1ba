"""Removal of what killed workers left: networks, steps of builds, layers, probes."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from bot_runner_worker.engine import Engine, containers, images, networks
from bot_runner_worker.model.identity import (
    BOT_ID,
    BUILD_ROLE,
    INSTANCE,
    NAMESPACE,
    PROBE_ROLE,
    ROLE,
    USER_ID,
    BotKey,
)
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

LEFT_OVER_AFTER = 600.0
"""Seconds for which something has to be seen before it is left over, where nothing else tells."""


class Cleanup:
    """Removes what is left over besides the bots' containers.

    It finds things by labels alone, and touches nothing that does not carry them. No clock on the wall is
    asked: what matters is whether anybody works on something now, or for how long this process has seen it.
    """

    def __init__(self, engine: Engine, settings: Settings, ahead: PrewarmedNetworks | None = None) -> None:
        self._ahead = ahead
        self._engine = engine
        self._mine = {NAMESPACE: settings.runner_namespace}
        # Of former versions, which had one for all builds.
        self._shared_by_builds = f"{settings.docker_network}-build"
        self._build_seconds = float(settings.build_timeout_seconds)
        self._first_seen: dict[str, float] = {}

    async def sweep(self, at_work: Callable[[], bool]) -> tuple[int, set[BotKey]]:
        """Remove what is left over.

        Args:
            at_work: Tells whether this worker is working on anything. Otherwise no build goes on.

        Returns:
            How many things were removed, and the bots for which a network was made that no container refers
            to: those are removed one bot at a time.
        """
        steps = await containers.list_by_labels(self._engine, self._mine | {ROLE: BUILD_ROLE})
        layers = await images.list_untagged(self._engine, self._mine)
        probes = await containers.list_by_labels(self._engine, self._mine | {ROLE: PROBE_ROLE})
        made = await networks.list_by_labels(self._engine, self._mine | {ROLE: "network"})
        # No tenant's id is empty, but the probe's is.
        probed = [network for network in made if network["Labels"].get(USER_ID) == ""]
        self._note([each["Id"] for each in (*steps, *layers, *probes, *probed)])
        # Asked after the lists: whoever builds what is in them is at work still.
        builds_go_on = bool(steps or layers) and at_work()
        builds_end_after = self._build_seconds + LEFT_OVER_AFTER if builds_go_on else 0.0
        swept = 0
        for each in self._seen_for(builds_end_after, steps):
            logger.info("removing the container %s: the build that it belonged to is over", each["Id"][:12])
            await containers.remove(self._engine, each["Id"])
            swept += 1
        for each in self._seen_for(builds_end_after, layers):
            await images.remove(self._engine, each["Id"])
            swept += 1
        for each in self._seen_for(LEFT_OVER_AFTER, probes):
            await containers.remove(self._engine, each["Id"])
            swept += 1
        for each in self._seen_for(LEFT_OVER_AFTER, probed):
            await networks.remove(self._engine, each["Id"])
            swept += 1
        ahead, bots = await self._unused_networks()
        for each in ahead:
            await networks.remove(self._engine, each["Id"])
        return swept + len(ahead), bots

    async def _unused_networks(self) -> tuple[list[dict[str, Any]], set[BotKey]]:
        """Networks that no container uses: those made ahead or for builds, and the bots of the others."""
        found = [
            network
            for network in await networks.list_by_labels(self._engine, self._mine | {ROLE: "network"})
            if not (self._ahead and self._ahead.has(network["Name"]))
        ]
        # Asked last: what does not lie ready any more has its container by now.
        used = await self._used_networks() if found else set()
        unused = [network for network in found if network["Name"] not in used]
        # A network without a bot id is shared, or made ahead; one without a user is a probe's.
        labels = [network["Labels"] for network in unused]
        bots = {BotKey.from_labels(each) for each in labels if BOT_ID in each and each.get(USER_ID)}
        ours = [
            network
            for network in unused
            if INSTANCE in network["Labels"] or network["Name"] == self._shared_by_builds
        ]
        return ours, bots

    async def _used_networks(self) -> set[str]:
        rows = await containers.list_by_labels(self._engine, self._mine)
        return {row["HostConfig"]["NetworkMode"] for row in rows}

    def _note(self, ids: list[str]) -> None:
        now = monotonic()
        self._first_seen = {each: self._first_seen.get(each, now) for each in ids}

    def _seen_for(self, seconds: float, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that this process has seen for longer."""
        now = monotonic()
        return [each for each in found if now - self._first_seen[each["Id"]] >= seconds]
