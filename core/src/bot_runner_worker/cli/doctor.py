"""``bot-runner-worker doctor``."""

import asyncio
import sys
from dataclasses import asdict

import typer
from rich.console import Console

from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.diagnostics.doctor import Progress, run_checks
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.settings import Settings

_MARKS = {
    State.OK: "[green]ok[/green]  ",
    State.WARNING: "[yellow]warn[/yellow]",
    State.FAILED: "[red]FAIL[/red]",
}


def doctor(as_json: AsJson = False) -> None:
    """Check all that the worker depends on; each problem comes with how to mend it.

    Takes up to a minute: it starts a container, and builds an image that downloads a package. What it makes
    is removed. Exit code 1 if a check fails; a warning is no failure.
    """
    settings = or_exit(Settings.load_without_token)
    checks = _run(settings)
    healthy = all(check.state is not State.FAILED for check in checks)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    raise typer.Exit(0 if healthy else 1)


def _run(settings: Settings) -> list[Check]:
    """Run the checks; on a terminal, a line on standard error shows what is under way."""
    if not sys.stderr.isatty():
        return asyncio.run(run_checks(settings))
    with Console(stderr=True).status("checking") as status:
        show: Progress = lambda running: status.update(_under_way(running))  # noqa: E731 (typed)
        return asyncio.run(run_checks(settings, show))


def _under_way(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"checking {shown}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _print(checks: list[Check]) -> None:
    console = Console(highlight=False)
    for check in checks:
        console.print(f"{_MARKS[check.state]} {check.name}: ", end="")
        console.print(check.finding, markup=False, soft_wrap=True)
        if check.remedy:
            console.print(f"     → {check.remedy}", markup=False, soft_wrap=True)
