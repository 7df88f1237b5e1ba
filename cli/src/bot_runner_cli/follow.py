"""Follows a bot's log by asking for what is new."""

import time
from collections.abc import Iterator
from typing import Any

from bot_runner_cli.errors import CliError, ExitCode
from bot_runner_cli.jobs import JobRunner

# Each question is a job: not more than 60 a minute, below the orchestrator's default rate limit.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 3.0
_PAUSE_GROWTH = 1.5
_LINES_PER_CHUNK = 5000
_MAX_FAILURES_IN_A_ROW = 5
_OVER = frozenset({"exited", "crashed", "expired", "stopped"})


def follow(jobs: JobRunner, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield chunks of a log (results of the action ``logs``) until the bot has ended.

    Args:
        jobs: Runs the questions.
        params: Params of the first one: ``bot_id``, ``lines``, perhaps ``since``.

    Yields:
        Each chunk that has text, and the last one in any case.

    Raises:
        CliError: The bot is not there, or several questions in a row failed.
    """
    pause, failures = _SHORTEST_PAUSE, 0
    chunk = jobs.run("logs", params)
    while True:
        over = chunk.get("container_status") in _OVER
        if chunk.get("logs") or over:
            yield chunk
        if over:
            return
        time.sleep(pause)
        following = {**params, "lines": _LINES_PER_CHUNK}
        if chunk.get("next_since"):
            following["since"] = chunk["next_since"]
        try:
            chunk = jobs.run("logs", following)
        except CliError as error:
            failures += 1
            passing = error.exit_code == ExitCode.TRY_LATER or error.code == "UNREACHABLE"
            if not passing or failures >= _MAX_FAILURES_IN_A_ROW:
                raise
            chunk = {"next_since": following.get("since")}
        else:
            failures = 0
        pause = _SHORTEST_PAUSE if chunk.get("logs") else min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)
