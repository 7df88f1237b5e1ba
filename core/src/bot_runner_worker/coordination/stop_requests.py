"""Requests to end a start that another worker is busy with."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from bot_runner_worker.coordination.claim import Claim, Kind
from bot_runner_worker.coordination.naming import Names
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, volumes
from bot_runner_worker.model.identity import KIND, NAMESPACE, ROLE, STOP_REQUEST_ROLE, TOKEN
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Seconds between two looks for requests, while a start is under way."""


class StopRequests:
    """Asks other workers to end a start, and hears when others ask.

    A request is a volume that carries the token of the start's claim: it means that one start only, and
    whoever finds it after that start has ended may remove it.

    Args:
        engine: The Engine.
        settings: The namespace.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._names = Names(settings.runner_namespace)
        self._labels = {NAMESPACE: settings.runner_namespace, ROLE: STOP_REQUEST_ROLE, KIND: "stop-request"}
        self._starts: dict[str, Callable[[], None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._removing: set[asyncio.Task[None]] = set()

    @contextmanager
    def heard(self, start: Claim, end: Callable[[], None]) -> Iterator[None]:
        """Look for requests about a start while it is under way.

        Args:
            start: Its claim.
            end: Called once if somebody asks.
        """
        self._starts[start.token] = end
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            if self._starts.pop(start.token, None) is None:
                # Somebody asked, who may be gone by now.
                self._remove_later(start.token)

    async def _look(self) -> None:
        try:
            while self._starts:
                await asyncio.sleep(LOOK_SECONDS)
                if self._starts:
                    await self._look_once()
        finally:
            self._looking = None

    async def _look_once(self) -> None:
        try:
            found = await volumes.list_by_labels(self._engine, self._labels)
        except ENGINE_TROUBLE as error:
            logger.debug("cannot look for requests to stop: %s", error)
            return
        for labels in found.values():
            token = labels.get(TOKEN, "")
            if (end := self._starts.pop(token, None)) is not None:
                end()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator["Asking"]:
        """Ask other workers to end starts; what was asked is withdrawn when the block is left."""
        asking = Asking(self._ask)
        try:
            yield asking
        finally:
            for token in asking.tokens:
                self._remove_later(token)

    async def _ask(self, start: Claim) -> None:
        name = self._names.stop_request(start.token)
        await volumes.create(self._engine, name, {**self._labels, TOKEN: start.token})

    def _remove_later(self, token: str) -> None:
        task = asyncio.create_task(self._remove(token))
        self._removing.add(task)
        task.add_done_callback(self._removing.discard)

    async def _remove(self, token: str) -> None:
        try:
            await volumes.remove(self._engine, self._names.stop_request(token))
        except ENGINE_TROUBLE as error:
            logger.info("a request to stop is left to the sweep: %s", error)

    async def settled(self) -> None:
        """Wait until all requests that are over are gone."""
        if self._removing:
            await asyncio.wait(set(self._removing))

    async def close(self) -> None:
        """Look no more, and leave nothing."""
        if self._looking is not None:
            self._looking.cancel()
        await self.settled()


class Asking:
    """The starts that were asked to end.

    Args:
        ask: Asks for one.
    """

    def __init__(self, ask: Callable[[Claim], Awaitable[None]]) -> None:
        self._ask = ask
        self.tokens: set[str] = set()

    async def end(self, claim: Claim) -> None:
        """Ask for the end of a start, once; a claim for something else is left alone."""
        if claim.kind == Kind.START and claim.token not in self.tokens:
            self.tokens.add(claim.token)
            await self._ask(claim)
