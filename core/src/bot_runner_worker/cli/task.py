"""``bot-runner-worker task``: one task on the local Engine, without any orchestrator."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bot_runner_worker.cli.output import or_exit, print_json
from bot_runner_worker.lease import Lease
from bot_runner_worker.logs import set_up_logging
from bot_runner_worker.runner import Runner
from bot_runner_worker.settings import Settings
from bot_runner_worker.tasks.outcome import Ending, Outcome

NAMES = ("start_bot", "stop_bot", "restart_bot", "get_logs", "list_bots", "check_status")


def task(
    name: Annotated[str, typer.Argument(help="One of " + ", ".join(NAMES) + ".")],
    params: Annotated[
        Path | None, typer.Argument(help="JSON file with the task's params; standard input if left out or -.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Run one task, while no worker is active, and print {"status", "data"} as JSON.

    Example: echo '{"user_id": "me"}' | bot-runner-worker task list_bots
    """
    if name not in NAMES:
        raise typer.BadParameter(f"there is no task {name}; tasks are {', '.join(NAMES)}", param_hint="NAME")
    data = _read(params)
    settings = or_exit(Settings.load_without_token)
    set_up_logging(settings)
    outcome = or_exit(lambda: asyncio.run(_run(settings, name, data, quiet)))
    print_json({"status": outcome.ending.value, "data": outcome.data})
    raise typer.Exit(0 if outcome.ending is Ending.SUCCESS else 1)


def _read(params: Path | None) -> Any:
    try:
        text = sys.stdin.read() if params is None or str(params) == "-" else params.read_text()
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot read JSON: {error}", param_hint="PARAMS") from None


async def _run(settings: Settings, name: str, params: Any, quiet: bool) -> Outcome:
    async def report(fraction: float, message: str) -> None:
        if not quiet:
            print(f"{fraction:4.0%} {message}", file=sys.stderr)

    async with Lease(settings) as lease, Runner(settings) as runner:
        await lease.acquire(wait=False)
        runner.engine.permit = lease.permit
        return await runner.run_task(name, params, report)
