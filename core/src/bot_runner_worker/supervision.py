"""What goes on without any task: deadlines, retention and leftovers, looked after at intervals."""

import asyncio
import logging
from datetime import UTC, datetime

from bot_runner_worker.engine import EngineError
from bot_runner_worker.errors import BotRunnerError
from bot_runner_worker.tasks.manage_bots import BotManager

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two checks; listing 200 bots takes the Engine about 3 ms."""


async def supervise(manager: BotManager) -> None:
    """Look after the bots until cancelled, whatever happens to the Engine meanwhile."""
    while True:
        try:
            now = datetime.now(UTC)
            await manager.watch()
            await manager.expire(now)
            await manager.sweep(now)
        except (BotRunnerError, EngineError) as error:
            logger.warning("the bots could not be looked after: %s", error)
        except Exception:
            logger.exception("the bots could not be looked after")
        await asyncio.sleep(INTERVAL)
