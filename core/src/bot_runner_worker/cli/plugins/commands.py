"""The commands ``plugins list``, ``plugins check`` and ``plugins new``."""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from packaging.utils import canonicalize_name
from packaging.version import Version
from rich.console import Console

from bot_runner_worker import __version__
from bot_runner_worker.cli.output import AsJson, or_exit, print_json
from bot_runner_worker.hookspecs import PROJECT
from bot_runner_worker.plugins.loading import PluginReport
from bot_runner_worker.runner import load_plugins
from bot_runner_worker.settings import Settings

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"
_MODULE = """\
from bot_runner_worker.testing.suites import suite_of

"""
_CLASS = """\
class Test_{identifier}(suite_of({name!r})):
    pass

"""


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


def check(
    distribution: Annotated[
        str, typer.Argument(help="An installed distribution, or the name of one of its plugins.")
    ],
    engine: Annotated[
        bool, typer.Option("--engine/--no-engine", help="Also start bots on the real Docker Engine.")
    ] = True,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each test.")] = False,
) -> None:
    """Run the conformance suite against an installed plugin.

    Its cases are those that it announces by the entry-point group bot_runner_worker.conformance; without
    them, the examples in the schema of its params.
    """
    if find_spec("pytest") is None:
        _fail("pytest is not installed. Run: pip install 'bot-runner-worker[testing]'")
    names = [entry.name for entry in plugins_of(distribution)]
    if not names:
        known = sorted({entry.dist.name for entry in entry_points(group=PROJECT) if entry.dist})
        _fail(f"{distribution} is no installed plugin. Installed: {', '.join(known) or 'none'}.")
    with tempfile.TemporaryDirectory(prefix="bot-runner-check-") as folder:
        tests = [
            _CLASS.format(identifier=name.replace("-", "_").replace(".", "_"), name=name) for name in names
        ]
        Path(folder, "test_conformance.py").write_text(_MODULE + "".join(tests))
        # A process of its own: a plugin that is checked may do anything to it.
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", folder, "--tb=short"),
                *("-p", "no:cacheprovider", "-p", "no:randomly", "-ra", "-v" if verbose else "-q"),
                *(() if engine else ("-m", "not engine")),
                folder,
            ],
            cwd=folder,
            check=False,
        )
    raise typer.Exit(0 if done.returncode == 0 else 1)


def plugins_of(distribution: str) -> list[EntryPoint]:
    """The plugins of a distribution, or the one plugin of that name."""
    wanted = canonicalize_name(distribution)
    found = {}
    for entry in entry_points(group=PROJECT):
        owner = canonicalize_name(entry.dist.name) if entry.dist else ""
        if distribution == entry.name or wanted == owner:
            found[entry.name] = entry
    return list(found.values())


def _fail(message: str) -> None:
    print(f"bot-runner-worker: {message}", file=sys.stderr)
    raise typer.Exit(2)


def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin and of its mode, such as my-mode.")],
    folder: Annotated[
        Path | None,
        typer.Option("--folder", "-f", help="By default ./bot-runner-plugin-NAME."),
    ] = None,
) -> None:
    """Write a plugin with its tests, ready for pip install -e.

    Example: bot-runner-worker plugins new my-mode
    """
    if not _NAME.fullmatch(name) or len(name) > 40:
        raise typer.BadParameter("use lower-case letters, digits and single dashes", param_hint="NAME")
    if name in {entry.name for entry in entry_points(group=PROJECT)}:
        raise typer.BadParameter(f"a plugin named {name} is installed already", param_hint="NAME")
    target = folder or Path(f"bot-runner-plugin-{name}")
    if target.exists() and any(target.iterdir()):
        raise typer.BadParameter(f"{target} is there already, and not empty", param_hint="--folder")
    write_plugin(name, target)
    print(f"Written to {target}. Next:")
    path = target if target.is_absolute() else f"./{target}"
    print(f"  pip install -e '{path}[test]'")
    print(f"  pytest {target}")
    print(f"  bot-runner-worker plugins check {name}")


def write_plugin(name: str, target: Path) -> None:
    """Write a plugin.

    Args:
        name: Its name, and its mode's.
        target: The folder; made if it is not there.
    """
    identifier = name.replace("-", "_")
    words = {
        "name": name,
        "module": f"bot_runner_plugin_{identifier}",
        "camel": "".join(part.capitalize() for part in name.split("-")),
        "compatibility": compatible_versions(__version__),
    }
    _write(files("bot_runner_worker.cli.plugins") / "template", target, words)


def _write(source: Traversable, target: Path, words: dict[str, str]) -> None:
    for entry in source.iterdir():
        path = target / entry.name.replace("MODULE", words["module"]).removesuffix(_SUFFIX)
        if entry.is_dir():
            _write(entry, path, words)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(entry.read_text()).substitute(words))


def compatible_versions(version: str) -> str:
    """The pin for plugins that are written for a version: up to the next that may break them."""
    parsed = Version(version)
    if parsed.major == 0:
        return f">=0.{parsed.minor},<0.{parsed.minor + 1}"
    return f">={parsed.major}.{parsed.minor},<{parsed.major + 1}"
