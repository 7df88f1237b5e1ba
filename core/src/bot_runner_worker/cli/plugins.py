"""``bot-runner-worker plugins``."""

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.plugins.loading import PluginReport
from bot_runner_worker.runner import load_plugins
from bot_runner_worker.settings import Settings


def plugins(as_json: AsJson = False) -> None:
    """Show the installed deployment plugins, what each offers, and why one was refused."""
    settings = or_exit(Settings.load_without_token)
    loaded = or_exit(lambda: load_plugins(settings))
    if as_json:
        print_json(
            {"plugins": [asdict(report) for report in loaded.reports], "modes": loaded.catalogue.modes()}
        )
    else:
        _print_table(loaded.reports)


def _print_table(reports: tuple[PluginReport, ...]) -> None:
    console = Console()
    table = Table("plugin", "distribution", "version", "status", "mode/source", "hooks")
    for report in reports:
        table.add_row(
            report.name,
            report.distribution,
            report.version,
            report.status,
            "\n".join(report.sources),
            "\n".join(report.hooks),
        )
    console.print(table)
    for report in reports:
        if report.problem:
            console.print(f"{report.name}: {report.problem} {report.hint}", markup=False)
