"""Room on the Engine's disk, and who sees to it that a bot does not write more than it may."""

import re

from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.checks.throwaway import discarded, throwaway
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.engine import EngineError, containers
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.quantities import format_size

LIMIT = "disk limit"

_REFUSED = re.compile("storage-opt", re.IGNORECASE)


async def room(here: CheckContext) -> Check:
    """How much is free."""
    free = await EngineDisk(here.engine, here.settings).free()
    return findings.disk(free, here.settings.min_free_disk)


async def limit(here: CheckContext) -> Check:
    """Whether the Engine holds a container to a size, tried with one that is created and never started."""
    size = format_size(here.settings.container_disk_limit)
    if here.known.base_image is None:
        return Check(LIMIT, State.WARNING, "cannot be tried without the base image", "Pull the base image.")
    name, config = throwaway(here.settings, ["true"], storage={"size": "64m"})
    async with discarded(here.engine, name):
        try:
            await containers.create(here.engine, name, config)
        except EngineError as error:
            if not _REFUSED.search(error.message):
                raise
            return Check(
                LIMIT,
                State.OK,
                f"{size}, watched by the worker: this storage cannot enforce it",
                "With overlay2 on XFS that is mounted with pquota, the kernel enforces it.",
            )
    return Check(LIMIT, State.OK, f"{size}, enforced by the Engine's storage")
