"""``bot-runner-worker plugins check``."""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from packaging.utils import canonicalize_name

from bot_runner_worker.hookspecs import PROJECT

_MODULE = """\
from bot_runner_worker.testing.suites import suite_of

"""
_CLASS = """\
class Test_{identifier}(suite_of({name!r})):
    pass

"""


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
