"""Work on one side, and on the other a watch that may end it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Never, TypeVar

Result = TypeVar("Result")


async def watched(work: Coroutine[Any, Any, Result], watch: Coroutine[Any, Any, Never]) -> Result:
    """Do the work while the watch looks on; what the watch raises ends the work.

    Returns only when both have ended, cancelled or not.
    """
    tasks = (asyncio.create_task(work), asyncio.create_task(watch))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[1].done() and not tasks[0].done():
            tasks[1].result()
        return await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
