"""Makes installed plugins out of a few lines of code, as real distributions in a folder."""

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

from bot_runner_worker.plugins.loading import LoadedPlugins, load
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.settings import Settings

HEADER = "from bot_runner_worker.plugin import *\n"

COMPLETE = """
class Params(StrictModel):
    greeting: str = "hello"

@hookimpl
def deployment_sources():
    return [DeploymentSource("{mode}", "{source}", Params, "a test", frozenset({{"greeting"}}))]
"""

GREETER = """
class Params(StrictModel):
    greeting: str = "hello"

@hookimpl
def deployment_sources():
    return [DeploymentSource("{mode}", "{mode}", Params, "a test")]

@hookimpl
def resolve_image(request, tools):
    return tools.images.base() if request.mode == "{mode}" else None
"""


def greeter(mode: str) -> str:
    """The code of a plugin whose mode runs the bare base image; what its container does is left to add."""
    return GREETER.format(mode=mode)


class PluginFolder:
    """A folder of site-packages with plugins in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        name: str,
        code: str,
        *,
        requires: str = "bot-runner-worker",
        module: str = "",
        attribute: str = "",
    ) -> None:
        """Install a plugin: a module, or one of its attributes."""
        module = module or f"plugin_{name}"
        (self.folder / f"{module}.py").write_text(HEADER + textwrap.dedent(code))
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requires}\n"
        )
        (info / "entry_points.txt").write_text(
            f"[bot_runner_worker]\n{name} = {module}{attribute and ':' + attribute}\n"
        )

    def entry_points(self) -> list[EntryPoint]:
        """The entry points of all plugins in the folder."""
        return [entry for each in distributions(path=[str(self.folder)]) for entry in each.entry_points]

    def load(self, **options: object) -> LoadedPlugins:
        """Load them as the worker does."""
        return load(found=self.entry_points(), **options)  # type: ignore[arg-type]

    def plugins(self, settings: Settings | None = None) -> Plugins:
        """Load them behind the dispatcher."""
        return Plugins(self.load(strict=True), settings or settings_with())


def settings_with(**changes: object) -> Settings:
    """Settings with these values; they are not checked, so that a test need not wait for seconds."""
    return Settings.load(worker_token="x").model_copy(update=changes)


@contextmanager
def importable(folder: Path) -> Iterator[PluginFolder]:
    """A plugin folder that is on ``sys.path`` while the block runs."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield PluginFolder(folder)
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if name.startswith("plugin_"):
                del sys.modules[name]
