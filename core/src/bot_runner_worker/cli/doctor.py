"""``bot-runner-worker doctor``."""

import asyncio
from dataclasses import asdict

import typer
from rich.console import Console

from bot_runner_worker.checks import Check, State, run_checks
from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.settings import Settings

_MARKS = {
    State.OK: "[green]ok[/green]  ",
    State.WARNING: "[yellow]warn[/yellow]",
    State.FAILED: "[red]FAIL[/red]",
}


def doctor(as_json: AsJson = False) -> None:
    """Check the Engine, base image, plugins and orchestrator; each problem comes with how to mend it."""
    settings = or_exit(Settings.load_without_token)
    checks = asyncio.run(run_checks(settings))
    healthy = all(check.state is not State.FAILED for check in checks)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    raise typer.Exit(0 if healthy else 1)


def _print(checks: list[Check]) -> None:
    console = Console(highlight=False)
    for check in checks:
        console.print(f"{_MARKS[check.state]} {check.name}: ", end="")
        console.print(check.finding, markup=False)
        if check.remedy:
            console.print(f"     → {check.remedy}", markup=False)
