"""``bot-runner-worker doctor``."""

import asyncio
import sys

import typer
from rich.console import Console

from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.diagnostics.doctor import run_checks
from bot_runner_worker.diagnostics.results import CheckResult, State, json_rows
from bot_runner_worker.settings import Settings

_MARKS = {
    State.OK: "[green]ok[/green]  ",
    State.WARNING: "[yellow]warn[/yellow]",
    State.FAILED: "[red]FAIL[/red]",
}


def doctor(as_json: AsJson = False) -> None:
    """Check all that the worker depends on; each problem comes with a remedy.

    Takes up to a minute: it starts containers, one of which downloads a package. What it makes is removed.
    Exit code 1 if a check fails; a warning is no failure.
    """
    settings = or_exit(Settings.load_without_token)
    checks = _run(settings)
    healthy = all(result.state is not State.FAILED for result in checks.values())
    if as_json:
        print_json({"healthy": healthy, "checks": json_rows(checks)})
    else:
        _print(checks)
    raise typer.Exit(0 if healthy else 1)


def _run(settings: Settings) -> dict[str, CheckResult]:
    """Run the checks; on a terminal, a line on standard error shows which are running."""
    if not sys.stderr.isatty():
        return asyncio.run(run_checks(settings))
    with Console(stderr=True).status("checking") as status:
        return asyncio.run(run_checks(settings, lambda running: status.update(_in_words(running))))


def _in_words(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"checking {shown}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _print(checks: dict[str, CheckResult]) -> None:
    console = Console(highlight=False)
    for name, result in checks.items():
        console.print(f"{_MARKS[result.state]} {name}: ", end="")
        console.print(result.finding, markup=False, soft_wrap=True)
        if result.remedy:
            console.print(f"     → {result.remedy}", markup=False, soft_wrap=True)
