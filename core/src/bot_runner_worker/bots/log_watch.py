"""How fast running bots print.

A bot's log is rotated, so a flood fills no disk; it takes the Engine's time, nearly a whole core at full
speed. All bots are looked at by the end of their logs, 1.8 ms each in all: the times of the last lines tell
whether they were printed close together. Only where they were is the output followed for a moment.
"""

import asyncio
import logging
from time import monotonic

from bot_runner_worker.aio import DutyCycle
from bot_runner_worker.bots.limit_violation import LimitViolation, OnExcess, running_bots
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, EngineError, logs
from bot_runner_worker.engine.logs import LogTail
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

INTERVAL = 3.0
SHARE = 0.03
"""Shortest time between two looks at all bots, in seconds, and the part of the time that they may take: with
200 bots it comes to a look every 12 s."""

SUSPECT_INTERVAL = 2.0
"""Seconds between two looks at a bot that printed too fast."""

PIECES = 20
WINDOW = 1.0
"""For how long the output of a bot is followed, in seconds."""

STRIKES = 4
"""A bot is ended when it was found too fast this many times more often than not: about 12 seconds of a flood.
A burst at the start, or a large traceback, is over by then."""

_AT_ONCE = 4


class LogRateWatch:
    """Finds bots that flood their log.

    Args:
        engine: The Engine.
        settings: Namespace and limit.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._namespace = settings.runner_namespace
        self._limit = settings.container_log_rate_limit
        self._pace = DutyCycle(INTERVAL, SHARE)
        self._suspects_pace = DutyCycle(SUSPECT_INTERVAL, 1)
        self._newest: dict[str, str] = {}
        self._strikes: dict[str, int] = {}

    async def look(self, on_excess: OnExcess) -> None:
        """Look at the bots whose turn it is.

        Args:
            on_excess: Awaited with each bot that floods its log.

        Raises:
            EngineError: If the Engine refuses a call.
            Unavailable: If it does not answer.
        """
        if self._pace.is_due():
            bots = await running_bots(self._engine, self._namespace)
            begun = monotonic()
            suspects = await self._conspicuous(bots)
            self._pace.looked(monotonic() - begun)
        elif self._strikes and self._suspects_pace.is_due():
            bots = await running_bots(self._engine, self._namespace)
            suspects = set()
        else:
            return
        self._newest = {each: time for each, time in self._newest.items() if each in bots}
        self._strikes = {each: count for each, count in self._strikes.items() if each in bots}
        turns = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for container in suspects | set(self._strikes):
                group.create_task(self._follow(bots[container], container, turns, on_excess))
        self._suspects_pace.looked(0)

    async def _conspicuous(self, bots: dict[str, BotKey]) -> set[str]:
        """The bots whose last lines came close together, and since the last look."""
        found = set()
        for container in bots:
            try:
                tail = await logs.tail(self._engine, container, PIECES)
            except EngineError as error:
                # It may just have been removed.
                logger.debug("the log of the bot %s cannot be read: %s", bots[container], error)
                continue
            moved = tail.newest != self._newest.get(container)
            self._newest[container] = tail.newest
            if tail.broken or (moved and self._is_dense(tail)):
                found.add(container)
        return found

    def _is_dense(self, tail: LogTail) -> bool:
        return tail.size > tail.gap * self._limit / 2

    async def _follow(
        self, bot: BotKey, container: str, turns: asyncio.Semaphore, on_excess: OnExcess
    ) -> None:
        enough = int(self._limit * WINDOW)
        try:
            async with turns:
                size = await logs.measure(self._engine, container, seconds=WINDOW, enough=enough)
            strikes = self._strikes.get(container, 0) + (1 if size >= enough else -1)
            if strikes > 0:
                self._strikes[container] = strikes
            else:
                self._strikes.pop(container, None)
            if strikes >= STRIKES:
                details = {"limit_bytes_per_second": self._limit}
                await on_excess(LimitViolation(bot, container, EndReason.LOG_FLOOD, details))
        except ENGINE_TROUBLE as error:
            # One bot must not hide the others.
            logger.warning("the log of %s could not be held against the limit: %s", bot, error)
