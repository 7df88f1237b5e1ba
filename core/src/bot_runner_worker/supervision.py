"""What goes on without any task: deadlines and retention, checked at intervals."""

import asyncio
import logging
from datetime import UTC, datetime

from bot_runner_worker.engine import EngineError
from bot_runner_worker.errors import BotRunnerError
from bot_runner_worker.tasks.manage_bots import BotManager

logger = logging.getLogger(__name__)

INTERVAL = 15.0
"""Seconds between two checks; listing 200 bots takes the Engine about 3 ms."""


async def supervise(manager: BotManager) -> None:
    """Check deadlines and retention until cancelled, whatever happens to the Engine meanwhile."""
    while True:
        try:
            await manager.expire(datetime.now(UTC))
        except (BotRunnerError, EngineError) as error:
            logger.warning("deadlines could not be checked: %s", error)
        except Exception:
            logger.exception("deadlines could not be checked")
        await asyncio.sleep(INTERVAL)
