"""``bot-runner-worker plugins new``."""

import re
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from packaging.version import Version

from bot_runner_worker import __version__
from bot_runner_worker.hookspecs import PROJECT

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"


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
        "fence": fence_for(__version__),
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


def fence_for(version: str) -> str:
    """The pin for plugins that are written for a version: up to the next that may break them."""
    parsed = Version(version)
    if parsed.major == 0:
        return f">=0.{parsed.minor},<0.{parsed.minor + 1}"
    return f">={parsed.major}.{parsed.minor},<{parsed.major + 1}"
