"""Removal of everything that a namespace has on the Engine."""

import asyncio
from functools import partial
from typing import Any

from bot_runner_worker.aio import for_each
from bot_runner_worker.engine import Engine, EngineError, containers, images, networks, volumes
from bot_runner_worker.model.errors import Code, Unavailable
from bot_runner_worker.model.identity import NAMESPACE, ROLE
from bot_runner_worker.model.image import OWN_REPOSITORY

_ROUNDS = 20
_PAUSE = 0.25
_AT_ONCE = 4
"""Removals that the Engine works on: each waits for processes and interfaces to go."""


class Purge:
    """Removes a namespace, also beside a worker that is still at work in it."""

    def __init__(self, engine: Engine, namespace: str) -> None:
        self._engine = engine
        self._namespace = namespace
        self._mine: dict[str, Any] = {NAMESPACE: namespace}

    async def remove_all(self, *, keep_images: bool) -> int:
        """Remove everything; returns how many of the containers were bots.

        Args:
            keep_images: Leave the images, for a quick next start.

        Raises:
            EngineError: If the Engine refuses something.
            Unavailable: If the Engine does not answer; ``ENGINE_FAILED`` if a volume stays in use.
        """
        bots: set[str] = set()
        for attempt in range(_ROUNDS):
            if attempt:
                await asyncio.sleep(_PAUSE)
            bots |= await self._remove_containers()
            await self._remove_networks()
            # A container that was made or is being removed at this moment holds its volumes.
            if not (in_use := await self._remove_volumes()):
                break
        else:
            raise Unavailable(
                Code.ENGINE_FAILED,
                f"Volumes of the namespace {self._namespace} are still in use: {', '.join(in_use)}.",
                hint="Stop its workers first, and whatever else uses these volumes (docker ps -a).",
                details={"volumes": in_use},
            )
        if not keep_images:
            await self._remove_images()
        return len(bots)

    async def _remove_containers(self) -> set[str]:
        """Ids of those that were bots."""
        found = await containers.list_by_labels(self._engine, self._mine)
        ids = [row["Id"] for row in found]
        await for_each(ids, partial(containers.remove, self._engine), at_once=_AT_ONCE)
        return {str(row["Id"]) for row in found if row["Labels"].get(ROLE) == "bot"}

    async def _remove_networks(self) -> None:
        found = await networks.list_by_labels(self._engine, self._mine)
        ids = [network["Id"] for network in found]
        await for_each(ids, partial(networks.remove, self._engine), at_once=_AT_ONCE)

    async def _remove_volumes(self) -> list[str]:
        """Names of those that are in use."""
        in_use = []
        for volume in await volumes.list_by_labels(self._engine, self._mine):
            try:
                await volumes.remove(self._engine, volume)
            except EngineError as error:
                if not error.conflict:
                    raise
                in_use.append(volume)
        return in_use

    async def _remove_images(self) -> None:
        # Those that were pulled carry no label of ours, but a tag.
        repository = f"{OWN_REPOSITORY}{self._namespace}"
        for image in await images.list_by_repository(self._engine, repository):
            own = [tag for tag in image["RepoTags"] if tag.startswith(f"{repository}:")]
            if own == image["RepoTags"]:
                await images.remove(self._engine, image["Id"], all_tags=True)
            else:
                # The operator has a name for it, too.
                for tag in own:
                    await images.remove(self._engine, tag)
        for image in await images.list_by_labels(self._engine, self._mine):
            await images.remove(self._engine, image["Id"], all_tags=True)
