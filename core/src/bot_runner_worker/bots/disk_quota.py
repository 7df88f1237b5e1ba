"""The Engine's own limit on what a container writes, where its storage can keep one."""

import logging
import re
from typing import Any

from bot_runner_worker.engine import Engine, EngineError, containers

logger = logging.getLogger(__name__)

_REFUSED = re.compile("storage-opt", re.IGNORECASE)


class DiskQuota:
    """Creates containers with a limit on their writable layer, if the Engine can hold them to it.

    With overlay2 that takes XFS with project quotas. Elsewhere the Engine refuses to create the container,
    which is tried once. The quota lies a little above the limit for which
    :mod:`bot_runner_worker.bots.disk_watch` ends bots, so that a bot is told why it was ended, however fast
    it writes.

    Args:
        engine: The Engine.
        limit: Bytes that a bot may write.
    """

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._size = limit + limit // 10
        self._refused = False

    async def create(self, name: str, config: dict[str, Any]) -> str:
        """Create a container and return its id.

        Raises:
            EngineError: See :func:`bot_runner_worker.engine.containers.create`.
        """
        if not self._refused:
            host = {**config["HostConfig"], "StorageOpt": {"size": str(self._size)}}
            try:
                return await containers.create(self._engine, name, {**config, "HostConfig": host})
            except EngineError as error:
                if not _REFUSED.search(error.message):
                    raise
                self._refused = True
                logger.info(
                    "disk use of bots is watched, since the Engine cannot limit it: %s", error.message
                )
        return await containers.create(self._engine, name, config)
