"""Finishing or removing what a worker left behind when it was killed in the middle of something."""

import logging
from datetime import datetime, timedelta
from typing import Any

from bot_runner_worker.engine import Engine, containers, images, networks
from bot_runner_worker.identity import BOT_ID, BUILD_ROLE, NAMESPACE, ROLE, BotKey
from bot_runner_worker.runtime.container_config import NEXT, PREVIOUS, RUNNING_POLICY
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=10)
"""What is younger may belong to a start that is going on, in this worker or another on the same Engine."""


class Sweeper:
    """Finds what is left over by labels alone, and touches nothing that does not carry them.

    Args:
        engine: The Engine.
        settings: The namespace.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._namespace = settings.runner_namespace
        self._build_seconds = settings.build_timeout_seconds

    async def sweep(self, now: datetime) -> int:
        """Finish or remove what is left over; returns how many things that were."""
        mine = {NAMESPACE: self._namespace}
        rows = await containers.list_by_labels(self._engine, mine | {ROLE: "bot"})
        by_name = {_name(row): row for row in rows}
        swept = 0
        for name, row in by_name.items():
            if not _older(row["Created"], now):
                continue
            if name.endswith(NEXT) or (row["State"] == "created" and not name.endswith(PREVIOUS)):
                logger.info("removing %s: its start was never finished", name)
                await containers.remove(self._engine, row["Id"])
                swept += 1
            elif name.endswith(PREVIOUS):
                await self._settle(row, by_name.get(name.removesuffix(PREVIOUS)), now)
                swept += 1
        swept += await self._sweep_networks(rows, now)
        return swept + await self._sweep_builds(now) + await self._sweep_images(now)

    async def _settle(self, previous: dict[str, Any], current: dict[str, Any] | None, now: datetime) -> None:
        """A bot that gave way: its replacement runs, or else it comes back."""
        name = _name(previous).removesuffix(PREVIOUS)
        if current is not None and current["State"] != "created":
            logger.info("removing %s: its replacement has started", _name(previous))
            await containers.remove(self._engine, previous["Id"])
        elif current is None or _older(current["Created"], now):
            logger.info("bringing %s back: its replacement was never started", name)
            if current is not None:
                await containers.remove(self._engine, current["Id"])
            await containers.rename(self._engine, previous["Id"], name)
            found = await containers.inspect(self._engine, previous["Id"])
            if found and found["HostConfig"]["RestartPolicy"]["Name"] == RUNNING_POLICY["Name"]:
                await containers.start(self._engine, previous["Id"])

    async def _sweep_networks(self, rows: list[dict[str, Any]], now: datetime) -> int:
        bots = {BotKey.from_labels(row["Labels"]) for row in rows if BOT_ID in row["Labels"]}
        swept = 0
        found = await networks.list_by_labels(self._engine, {NAMESPACE: self._namespace, ROLE: "network"})
        for network in found:
            labels = network["Labels"]
            # A network without a bot id is the shared one.
            if BOT_ID not in labels or BotKey.from_labels(labels) in bots:
                continue
            if _older(datetime.fromisoformat(_without_nanoseconds(network["Created"])).timestamp(), now):
                logger.info("removing the network %s: its bot is gone", network["Name"])
                await networks.remove(self._engine, network["Id"])
                swept += 1
        return swept

    async def _sweep_builds(self, now: datetime) -> int:
        """Steps of builds whose Engine was killed: it removes those that it ends itself."""
        swept = 0
        mine = {NAMESPACE: self._namespace, ROLE: BUILD_ROLE}
        for row in await containers.list_by_labels(self._engine, mine):
            if row["Created"] + self._build_seconds < now.timestamp() and _older(row["Created"], now):
                logger.info("removing %s: the build that it belonged to is over", _name(row))
                await containers.remove(self._engine, row["Id"])
                swept += 1
        return swept

    async def _sweep_images(self, now: datetime) -> int:
        """Layers of builds that were never finished: they carry our label, and no tag."""
        swept = 0
        for image in await images.list_untagged(self._engine, {NAMESPACE: self._namespace}):
            if _older(image["Created"], now):
                await images.remove(self._engine, image["Id"])
                swept += 1
        return swept


def _name(row: dict[str, Any]) -> str:
    return str(row["Names"][0]).removeprefix("/")


def _older(created: float, now: datetime) -> bool:
    return now.timestamp() - created > PATIENCE.total_seconds()


def _without_nanoseconds(moment: str) -> str:
    head, _, _ = moment.partition(".")
    return head.removesuffix("Z") + "+00:00"
