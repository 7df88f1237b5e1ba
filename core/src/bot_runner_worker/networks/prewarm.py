"""Prewarmed networks: creating one takes a third of a bot's start, so starts find some ready.

The Engine can neither rename nor relabel a network: whose a prewarmed one becomes is said by the container
that is created with it. Until then it belongs to the process that created it; those of former processes are
removed (:mod:`bot_runner_worker.bots.cleanup`).
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from bot_runner_worker.aio import run_to_completion
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, networks
from bot_runner_worker.model.errors import Unavailable
from bot_runner_worker.model.identity import INSTANCE, NAMESPACE, ROLE
from bot_runner_worker.networks.pool import bridge_options, create_from_pool
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

PREFIX_LENGTH = 29
"""Size of a bot's subnet: the gateway, the bot, and the bot that replaces it."""

QUIET_SECONDS = 0.5
"""Seconds without a start before the next network is created: starts come first."""

LONGEST_QUIET = 5.0
"""Seconds after which one is created although bots are starting."""

_POLL_SECONDS = 0.1

RETRY_SECONDS = 30.0
"""Seconds before the next attempt after a failure."""

_LARGEST_SHARE = 8
"""At most one in so many of the pool's subnets is prewarmed."""


class PrewarmedNetworks:
    """Keeps a few networks ready.

    Args:
        engine: The Engine.
        settings: Names, the pool, and how many.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._instance = secrets.token_hex(6)
        subnets = 1 << max(0, PREFIX_LENGTH - settings.network_pool.prefixlen)
        own = settings.network_mode == "own"
        self._count = min(settings.networks_ahead, subnets // _LARGEST_SHARE) if own else 0
        self._ready: deque[str] = deque()
        self._handed_out: set[str] = set()
        self._starting = 0
        self._started_at = float("-inf")
        self._taken = asyncio.Event()

    def take(self) -> str | None:
        """Hand out a ready network, if there is one; :meth:`let_go` when it has its container."""
        if not self._ready:
            return None
        name = self._ready.popleft()
        self._handed_out.add(name)
        self._taken.set()
        return name

    @contextmanager
    def starting(self) -> Iterator[None]:
        """A context in which a bot is started, and no network is created."""
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1
            self._started_at = monotonic()

    def let_go(self, name: str) -> None:
        """Say that a network has its container, or is not needed any more."""
        self._handed_out.discard(name)

    def has(self, name: str) -> bool:
        """Whether a network is ready, or is about to get its container."""
        return name in self._ready or name in self._handed_out

    async def run(self) -> None:
        """Keep networks ready until cancelled."""
        while True:
            self._taken.clear()
            try:
                while len(self._ready) < self._count:
                    await self._quiet()
                    await self._make()
            except (*ENGINE_TROUBLE, Unavailable) as error:
                logger.warning("no network can be prewarmed: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._taken.wait()

    async def _quiet(self) -> None:
        until = monotonic() + LONGEST_QUIET
        while self._starting or monotonic() < self._started_at + QUIET_SECONDS:
            if monotonic() > until:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _make(self) -> None:
        digest = secrets.token_hex(8)
        name = f"{self._settings.docker_network}-{digest}"
        self._handed_out.add(name)
        try:
            # To its end: the Engine makes it all the same, and then it has to be known.
            await run_to_completion(self._make_one(name, digest))
        finally:
            self._handed_out.discard(name)

    async def _make_one(self, name: str, digest: str) -> None:
        await create_from_pool(
            self._engine,
            name,
            pool=self._settings.network_pool,
            prefix_length=PREFIX_LENGTH,
            labels={
                NAMESPACE: self._settings.runner_namespace,
                ROLE: "network",
                INSTANCE: self._instance,
            },
            options=bridge_options(self._settings.bridge_prefix, digest),
        )
        self._ready.append(name)

    async def close(self) -> None:
        """Remove the networks that are ready."""
        self._count = 0
        while self._ready:
            try:
                await networks.remove(self._engine, self._ready.popleft())
            except ENGINE_TROUBLE as error:
                logger.warning("prewarmed networks are left to the sweep: %s", error)
                return
