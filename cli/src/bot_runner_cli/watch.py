"""Looks at a bot that was just started: does it stay up?"""

import time
from typing import Any

from bot_runner_cli.errors import BotDiedError
from bot_runner_cli.jobs import JobRunner

_INTERVAL = 0.5
_ALIVE = frozenset({"starting", "running"})
_LAST_LINES = 20


def watch(jobs: JobRunner, bot_id: str, seconds: float, *, fresh: bool = True) -> str:
    """Poll the bot's status for some time.

    Args:
        jobs: Runs the polls.
        bot_id: The bot.
        seconds: How long; 0 looks once.
        fresh: The bot has a new container, so any restart that is counted is one too many.

    Returns:
        The last status seen: ``running``, or ``starting``.

    Raises:
        BotDiedError: It is no longer up, or was started again in between.
    """
    until = time.monotonic() + seconds
    known_restarts = 0 if fresh else None
    while True:
        bot = jobs.run("status", {"bot_id": bot_id})
        restarts = int(bot.get("restart_count") or 0)
        if known_restarts is None:
            known_restarts = restarts
        status = str(bot.get("status") or "")
        if not bot.get("exists", True) or status not in _ALIVE or restarts > known_restarts:
            raise _obituary(jobs, bot_id, bot)
        left = until - time.monotonic()
        if left <= 0:
            return status
        time.sleep(min(_INTERVAL, left))


def _obituary(jobs: JobRunner, bot_id: str, bot: dict[str, Any]) -> BotDiedError:
    if not bot.get("exists", True):
        return BotDiedError(
            "BOT_DIED", f"The bot {bot_id} started, and is gone: somebody else removed it.", stage="watch"
        )
    logs = str(jobs.run("logs", {"bot_id": bot_id, "lines": _LAST_LINES}).get("logs") or "")
    kept = ("status", "exit_code", "oom_killed", "restart_count", "reason", "container_name")
    return BotDiedError(
        "BOT_DIED",
        _what_happened(bot_id, bot),
        hint=_what_to_do(bot_id, bot),
        details={**{key: bot.get(key) for key in kept}, "logs": logs},
        stage="watch",
    )


def _what_happened(bot_id: str, bot: dict[str, Any]) -> str:
    status, exit_code = bot.get("status"), bot.get("exit_code")
    if status in ("stopped", "expired"):
        return f"The bot {bot_id} started, and is {status} already."
    how = "was killed for using too much memory" if bot.get("oom_killed") else "ended"
    # A bot that is up again at this moment shows no exit code: its last life's is lost.
    code = f" with exit code {exit_code}" if exit_code is not None and status not in _ALIVE else ""
    told = bot.get("oom_killed") or code
    reason = f" ({bot['reason']})" if bot.get("reason") and not told else ""
    then = "is not started again" if status in ("exited", "crashed") else "is started again and again"
    return f"The bot {bot_id} started, but {how} within seconds{code}, and {then}{reason}."


def _what_to_do(bot_id: str, bot: dict[str, Any]) -> str:
    if bot.get("oom_killed"):
        return "Ask for more with --memory, as far as the limit allows, or let it use less."
    if bot.get("status") == "exited":
        return "A bot is expected to keep running: does its code wait for updates?"
    # The worker knows what such last lines mean.
    first = str(bot.get("hint") or "Correct it.")
    return (
        f"{first} Then start it again with --replace. "
        f"All of its output: bot-runner logs {bot_id}; to give up: bot-runner stop {bot_id}"
    )
