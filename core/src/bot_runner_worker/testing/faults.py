"""Faults in a start: it is cancelled in a stage, or something that it needs fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bot_runner_worker.model.errors import Code, Rejected, Unavailable
from bot_runner_worker.testing.memory_runner import MemoryRunner
from bot_runner_worker.testing.waiting import SCALE

STAGES = ("prepare_build_context", "resolve_image", "container_options", "launch")
"""Where a start can be cancelled: before it, in its midst, and right after it."""

FAULTS = ("base", "build", "pull", "recall", "remember", "launch")
"""What can fail while a plugin is at work."""

MOMENTS = (0.0, 0.002, 0.02)
"""Seconds after a stage's beginning."""


async def cancel_at(
    runner: MemoryRunner, stage: str, seconds: float, start: Callable[[], Awaitable[Any]]
) -> bool:
    """Cancel a start some time after a stage has begun.

    Args:
        runner: Where it is started.
        stage: One of :data:`STAGES`.
        seconds: How long after the stage has begun.
        start: Starts it.

    Returns:
        Whether the start was cut short; ``False`` if it was over before, or never came there.
    """
    owner: Any = runner.runtime if stage == "launch" else runner.plugins
    real = getattr(owner, stage)
    task: asyncio.Task[Any]

    async def watched(*args: Any, **kwargs: Any) -> Any:
        asyncio.get_running_loop().call_later(seconds, task.cancel)
        return await real(*args, **kwargs)

    setattr(owner, stage, watched)
    try:
        task = asyncio.ensure_future(start())
        done, _ = await asyncio.wait([task], timeout=60 * SCALE)
        assert done, f"a start that was cancelled in {stage} did not end"
        return task.cancelled()
    finally:
        delattr(owner, stage)


async def fail_at(runner: MemoryRunner, fault: str, start: Callable[[], Awaitable[Any]]) -> Any:
    """Let something fail while a bot is started; returns what the start returns."""
    owner: Any = {"launch": runner.runtime}.get(fault, runner.images)

    async def failing(*_args: Any, **_kwargs: Any) -> Any:
        await asyncio.sleep(0)
        if fault == "launch":
            raise Rejected(Code.START_FAILED, "The bot's container could not be started.", hint="Test.")
        raise Unavailable(Code.ENGINE_UNAVAILABLE, "The Docker Engine does not answer.", hint="Test.")

    setattr(owner, fault, failing)
    try:
        return await start()
    finally:
        delattr(owner, fault)
