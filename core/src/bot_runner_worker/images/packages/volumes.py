"""The volumes that installations use: uv itself, and the cache of wheels that all tenants share."""

import asyncio
import logging
from collections.abc import Mapping
from hashlib import sha256
from time import monotonic

from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, volumes
from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images.base import silent
from bot_runner_worker.images.packages import commands
from bot_runner_worker.images.packages.container import InstallContainers, InstallStep
from bot_runner_worker.model.errors import BotRunnerError, Rejected
from bot_runner_worker.model.identity import CACHE_ROLE, NAMESPACE, ROLE
from bot_runner_worker.model.image import Image
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

RETRY_AFTER = 600.0
"""Seconds before uv is fetched again after a failure."""

MEASURED_EVERY = 20
"""Installations between two measurements of the cache."""

_INDEXES = frozenset(
    {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"}
    | {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"}
)
"""Variables of uv and pip with addresses of packages."""


def over_plain_http(environment: Mapping[str, str]) -> bool:
    """Whether variables, such as those of a base image, name a package index without TLS."""
    return any("http://" in value.lower() for name, value in environment.items() if name in _INDEXES)


class PackageVolumes:
    """Fills the volume with uv, and limits the size of the cache.

    Args:
        engine: The Engine.
        settings: The namespace, and how large the cache may grow.
        steps: Runs containers.
    """

    def __init__(self, engine: Engine, settings: Settings, steps: InstallContainers) -> None:
        self._engine = engine
        self._settings = settings
        self._steps = steps
        self._labels = {NAMESPACE: settings.runner_namespace, ROLE: CACHE_ROLE}
        self._fetching = asyncio.Lock()
        # Each base image has a uv of its own: for its kind of machine and C library.
        self._ready: set[str] = set()
        self._not_before = 0.0
        self._installations = 0
        self.cache = self._name("wheels")

    def _name(self, *parts: str) -> str:
        digest = sha256("\0".join((self._settings.runner_namespace, *parts)).encode()).hexdigest()[:16]
        return f"bot-runner-{parts[0]}-{digest}"

    def uv(self, base: Image) -> str:
        """Name of the volume with uv for a base image."""
        return self._name("uv", commands.UV_VERSION, base.id)

    async def are_ready(self, base: Image) -> bool:
        """Create both volumes if they are missing; returns whether they are ready.

        They never are where the package index is asked over plain HTTP: all tenants would get what anybody on
        the way there has made of it.

        Args:
            base: The base image.

        Raises:
            EngineError: If the Engine refuses something.
            Unavailable: If the Engine does not answer, or has no room or network left.
        """
        environment = self._settings.installer_environment()
        if over_plain_http({**base.environment, **environment}):
            return False
        uv = self.uv(base)
        async with self._fetching:
            if uv in self._ready:
                return True
            if monotonic() < self._not_before:
                return False
            for name in (uv, self.cache):
                await volumes.create(self._engine, name, self._labels)
            step = InstallStep(
                image=base.id,
                command=commands.fetch_uv(environment),
                online=True,
                volumes={commands.UV_FOLDER: uv},
                writable=frozenset({commands.UV_FOLDER}),
            )
            try:
                async with self._steps.run(step, silent):
                    pass
            except (BuildError, Rejected, TimeoutError) as error:
                said = error.log[-1:] if isinstance(error, BuildError) else []
                reason = said[0] if said else error
                logger.warning("uv %s cannot be had, pip does its work: %s", commands.UV_VERSION, reason)
                self._not_before = monotonic() + RETRY_AFTER
                return False
            self._ready.add(uv)
            return True

    async def discard_uv(self, base: Image) -> None:
        """Remove the volume of uv, which is empty; the next installation fetches uv again.

        Args:
            base: The base image.

        Raises:
            EngineError: If the volume is in use.
            Unavailable: If the Engine does not answer.
        """
        self._ready.discard(self.uv(base))
        await self._steps.wait_closed()
        await volumes.remove(self._engine, self.uv(base))

    async def limit_cache(self, base: Image) -> None:
        """Count an installation; after some of them, empty the cache if it has grown too large.

        Args:
            base: The base image.
        """
        self._installations += 1
        if self._installations % MEASURED_EVERY:
            return
        step = InstallStep(
            image=base.id,
            command=commands.measure_cache(),
            volumes={commands.CACHE_FOLDER: self.cache},
            cpu_shares=2,
        )
        try:
            async with self._steps.run(step, silent) as (_, output):
                size = int(output[-1].split()[0]) * 1024
            await self._steps.wait_closed()
            if size > self._settings.package_cache_size:
                logger.info("emptying the cache of packages: it has grown to %d bytes", size)
                # Refused while an installation uses it; the next measurement tries again.
                await volumes.remove(self._engine, self.cache)
                await volumes.create(self._engine, self.cache, self._labels)
        except (*ENGINE_TROUBLE, BuildError, BotRunnerError, TimeoutError, ValueError) as error:
            logger.warning("the cache of packages could not be measured: %s", error)
