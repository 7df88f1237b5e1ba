"""Each plugin's wheel installs alone with the core: it gives its own mode and no other's dependencies."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.wheelhouse import REPOSITORY, Environment, build_wheels

SOURCES = {
    "simple": ["simple/simple"],
    "custom_git": ["custom/git"],
    "custom_archive": ["custom/archive", "custom/archive_url"],
    "image": ["image/registry"],
    "pypi": ["pypi/package"],
    "compose_service": ["compose/git"],
    "gpu_limits": [],
}
"""What each plugin offers, by its folder."""

OWN = {
    "gitpython": {"custom_git", "compose_service"},
    "bot-runner-git": {"custom_git", "compose_service"},
    "httpx": {"custom_archive"},
    "pyyaml": {"compose_service"},
}
"""Whose dependencies these are."""

LOOK = """
import json
from importlib.metadata import distributions
from packaging.utils import canonicalize_name
from bot_runner_worker.plugins.loading import load
print(json.dumps({
    "reports": [[each.distribution, each.status, sorted(each.sources)] for each in load().reports],
    "installed": sorted({canonicalize_name(each.name) for each in distributions()}),
}))
"""


@dataclass(frozen=True)
class Found:
    """An environment's plugins, as reported, and all that is installed."""

    reports: list[list[object]]
    installed: set[str]


def dist(plugin: str) -> str:
    return f"bot-runner-plugin-{plugin.replace('_', '-')}"


def look(folder: Path, wheels: Path, requirement: str) -> Found:
    """Install a distribution into an environment of its own, and look."""
    environment = Environment(folder, wheels)
    environment.install(requirement)
    found = json.loads(environment.run("python", "-c", LOOK))
    return Found(found["reports"], set(found["installed"]))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All distributions' wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    build_wheels(folder)
    return folder


@pytest.fixture(scope="module")
def core_alone(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """An environment of the core."""
    return look(tmp_path_factory.mktemp("environments") / "core", wheels, "bot-runner-worker")


def test_every_plugin_of_the_repository_is_here() -> None:
    assert {path.parent.name for path in REPOSITORY.glob("plugins/*/pyproject.toml")} == set(SOURCES)


@pytest.mark.images
def test_the_core_alone_has_no_mode_and_no_plugins_dependencies(core_alone: Found) -> None:
    assert core_alone.reports == []
    assert core_alone.installed & OWN.keys() == set()


@pytest.mark.images
@pytest.mark.parametrize("plugin", SOURCES)
def test_a_plugin_alone(plugin: str, wheels: Path, core_alone: Found, tmp_path: Path) -> None:
    found = look(tmp_path / "environment", wheels, dist(plugin))
    assert found.reports == [[dist(plugin), "loaded", SOURCES[plugin]]]
    expected = {name for name, owners in OWN.items() if plugin in owners}
    assert found.installed & OWN.keys() == expected
    # Whoever needs nothing of that kind adds itself, and nothing else.
    if not expected:
        assert found.installed - core_alone.installed == {dist(plugin)}
