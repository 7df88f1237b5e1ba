"""Starts a bot and waits for what it says."""

from typing import Any

from tests.conftest import RunnerUnderTest

from bot_runner_worker.testing import MemoryRunner
from bot_runner_worker.testing.waiting import until

SETTINGS = {"max_source_size": "300m", "max_context_size": "300m"}
"""Of the runner: room for real projects."""


async def started(runner: RunnerUnderTest, bot_id: str, **params: Any) -> dict[str, Any]:
    """Start a bot of the mode ``custom``, see it say ``ready``, remove it; returns the start's result."""
    outcome = await runner.start("alice", bot_id, deployment_mode="custom", **params)
    assert outcome.error is None, outcome.error
    try:
        await said(runner, bot_id, "ready")
    finally:
        await removed(runner, bot_id)
    return outcome.data


async def said(runner: RunnerUnderTest, bot_id: str, word: str = "\n", user_id: str = "alice") -> str:
    """A bot's log, as soon as there is a word in it."""
    logs = ""

    async def found() -> bool:
        nonlocal logs
        logs = (await runner.task("get_logs", user_id=user_id, bot_id=bot_id)).data["logs"]
        return word in logs

    await until(found, 30, lambda: f"{word!r} in the bot's log, which is {logs!r}")
    return logs


async def removed(runner: RunnerUnderTest, bot_id: str) -> None:
    """Remove a bot with its container."""
    for record in await runner.runner.runtime.list_bots("alice"):
        if record.bot.bot_id == bot_id:
            await runner.runner.runtime.remove(record)


async def taken(runner: MemoryRunner, **params: Any) -> dict[str, Any]:
    """Start a bot of the mode ``custom`` in memory, and remove it; returns the start's result."""
    outcome = await runner.start(deployment_mode="custom", **params)
    assert outcome.error is None, outcome.error
    await runner.runtime.remove_all()
    return outcome.data
