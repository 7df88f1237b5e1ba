"""One task for each bot that is attended to, a few at a time; after a failure, a pause that grows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from bot_runner_worker.engine import ENGINE_TROUBLE
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.model.identity import BotKey

logger = logging.getLogger(__name__)

AT_ONCE = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a bot for which nothing could be done is attended to again."""


class WorkQueue:
    """Keeps the tasks."""

    def __init__(self) -> None:
        self._tasks: dict[BotKey, asyncio.Task[None]] = {}
        self._pauses: dict[BotKey, tuple[float, float]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def begin(self, bot: BotKey, work: Callable[[], Awaitable[None]]) -> None:
        """Begin to attend to a bot, unless that is going on or has just failed.

        Args:
            bot: The bot.
            work: What to do; whatever it raises is logged.
        """
        not_before, _ = self._pauses.get(bot, (0.0, 0.0))
        if bot not in self._tasks and monotonic() >= not_before:
            self._tasks[bot] = asyncio.create_task(self._attend(bot, work))

    async def _attend(self, bot: BotKey, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._slots:
                await work()
        except (BotRunnerError, *ENGINE_TROUBLE, TimeoutError) as error:
            self._failed(bot)
            logger.warning("the bot %r/%r could not be attended to: %s", bot.user_id, bot.bot_id, error)
        except Exception:
            self._failed(bot)
            logger.exception("the bot %r/%r could not be attended to", bot.user_id, bot.bot_id)
        else:
            self._pauses.pop(bot, None)
        finally:
            del self._tasks[bot]

    def _failed(self, bot: BotKey) -> None:
        _, before = self._pauses.get(bot, (0.0, 0.0))
        pause = min(max(2 * before, FIRST_PAUSE), LONGEST_PAUSE)
        self._pauses[bot] = (monotonic() + pause, pause)

    def seconds_to_next_try(self) -> float:
        """Seconds until the next bot may be attended to for which nothing could be done; or infinity."""
        return min((at - monotonic() for at, _ in self._pauses.values()), default=float("inf"))

    def keep(self, bots: set[BotKey]) -> None:
        """Forget the failures with all other bots."""
        self._pauses = {bot: pause for bot, pause in self._pauses.items() if bot in bots}

    async def done(self) -> None:
        """Wait until no bot is attended to any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def end(self) -> None:
        """End all tasks; what has begun to be done to a bot is finished first."""
        for task in self._tasks.values():
            task.cancel()
        await self.done()
