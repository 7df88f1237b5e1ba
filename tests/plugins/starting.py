"""Starts a bot and waits for its first word."""

import asyncio
from typing import Any

from tests.conftest import RunnerUnderTest

SETTINGS = {"source_timeout_seconds": 120, "max_source_size": "300m", "max_context_size": "300m"}
"""Of the runner: room for real projects."""


async def started(runner: RunnerUnderTest, bot_id: str, **params: Any) -> dict[str, Any]:
    """Start a bot of the mode ``custom``, see it say ``ready``, remove it; returns the start's result."""
    outcome = await runner.start("alice", bot_id, deployment_mode="custom", **params)
    assert outcome.error is None, outcome.error
    try:
        await _ready(runner, bot_id)
    finally:
        await removed(runner, bot_id)
    return outcome.data


async def _ready(runner: RunnerUnderTest, bot_id: str) -> None:
    logs = ""
    for _ in range(100):
        answer = await runner.task("get_logs", user_id="alice", bot_id=bot_id)
        logs = answer.data["logs"]
        if "ready" in logs:
            return
        await asyncio.sleep(0.1)
    status = await runner.task("check_status", user_id="alice", bot_id=bot_id)
    raise AssertionError(f"the bot said {logs!r} and is {status.data}")


async def removed(runner: RunnerUnderTest, bot_id: str) -> None:
    """Remove a bot with its container."""
    for record in await runner.runner.runtime.list_bots("alice"):
        if record.bot.bot_id == bot_id:
            await runner.runner.runtime.remove(record)
