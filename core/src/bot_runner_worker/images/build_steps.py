"""The containers of one build's steps: found among all others, limited, measured and ended."""

import asyncio
import secrets
from typing import Any

from bot_runner_worker.engine import Engine, EngineError, containers
from bot_runner_worker.model.identity import BUILD_ROLE, NAMESPACE, ROLE
from bot_runner_worker.settings import Settings

_MARKS = 64 * 1024
_UPDATE_ATTEMPTS = 5


class BuildSteps:
    """The steps of a build that goes on.

    Their containers can be given no label of their own, or nothing would be cached. A limit of a file's size
    that is a little different for each build tells them apart.

    Args:
        engine: The Engine.
        settings: Limits and namespace.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self.file_size = settings.max_image_size - secrets.randbelow(_MARKS)
        """Bytes of the largest file: what the build must be given as its limit."""

    async def limit_processes(self, container: str) -> None:
        """Give a step's container its limit of processes, which is not among a build's parameters.

        Args:
            container: Short id, by the builder's words.

        Raises:
            EngineError: If the Engine refuses time and again.
        """
        for attempt in range(_UPDATE_ATTEMPTS):
            found = await self._find(container)
            if found is None or found["State"]["Status"] == "exited":
                return
            try:
                await containers.set_process_limit(self._engine, container, self._settings.build_pids_limit)
            except EngineError:
                # A step that is ending at this moment refuses in many words, and is gone a moment later.
                if attempt + 1 == _UPDATE_ATTEMPTS:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    async def written(self) -> int:
        """Bytes that the step that runs has written."""
        sizes = [
            await containers.inspect(self._engine, each["Id"], size=True) or {} for each in await self._all()
        ]
        return sum(int(each.get("SizeRw", 0)) for each in sizes)

    async def kill(self) -> None:
        """End the step that runs; the build fails by that.

        Its container is left to the builder: two that remove it at once do not wait for each other, and
        whoever comes second believes too early that it is gone.
        """
        for each in await self._all():
            await containers.kill(self._engine, each["Id"])

    async def _all(self) -> list[dict[str, Any]]:
        """The containers of this build, whatever has been told of them."""
        mine = {NAMESPACE: self._settings.runner_namespace, ROLE: BUILD_ROLE}
        listed = await containers.list_by_labels(self._engine, mine)
        return [found for row in listed if (found := await self._find(row["Id"])) is not None]

    async def _find(self, container: str) -> dict[str, Any] | None:
        """A container, if it is one of this build's: what a RUN prints may name any other."""
        found = await containers.inspect(self._engine, container)
        limits = found["HostConfig"].get("Ulimits") or [] if found is not None else []
        if any(limit["Name"] == "fsize" and limit["Hard"] == self.file_size for limit in limits):
            return found
        return None
