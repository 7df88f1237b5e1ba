"""``bot-runner-worker plugins list``."""

from dataclasses import asdict

from rich.console import Console

from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.plugins.loading import PluginReport
from bot_runner_worker.runner import load_plugins
from bot_runner_worker.settings import Settings


def show(as_json: AsJson = False) -> None:
    """Show the installed deployment plugins, what each offers, and why one was refused."""
    settings = or_exit(Settings.load_without_token)
    loaded = or_exit(lambda: load_plugins(settings))
    if as_json:
        print_json(
            {"plugins": [asdict(report) for report in loaded.reports], "modes": loaded.catalogue.modes()}
        )
    else:
        _print_reports(loaded.reports)


def _print_reports(reports: tuple[PluginReport, ...]) -> None:
    console = Console(highlight=False)
    if not reports:
        console.print("No plugin is installed. Install one, such as bot-runner-plugin-simple.")
    for report in reports:
        where = f"({report.distribution} {report.version})"
        console.print(f"[bold]{report.name}[/bold]  {report.status}  {where}")
        for title, lines in (
            ("offers", report.sources),
            ("implements", report.hooks),
            ("problem" if report.status == "refused" else "reason", _lines(report.problem, report.hint)),
            ("warning", _lines(report.warning)),
        ):
            for line in lines:
                console.print(f"  {title:<11}{line}", markup=False, soft_wrap=True)
                title = ""


def _lines(*texts: str) -> tuple[str, ...]:
    return tuple(text for text in texts if text)
