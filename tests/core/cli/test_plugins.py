"""``bot-runner-worker plugins``: what it shows, and a plugin that is written, installed and checked."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.images.docker_cli import REPOSITORY
from typer.testing import CliRunner

from bot_runner_worker.cli import app
from bot_runner_worker.cli.plugins.writing import fence_for

BUNDLED = ("custom_archive", "custom_git", "image", "simple")


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command here; its exit code and all that it prints."""
    result = CliRunner().invoke(app, ["plugins", *arguments], env={"WORKER_TOKEN": "x", **environment})
    return result.exit_code, result.output


def shown(**environment: str) -> dict[str, dict[str, object]]:
    """The plugins as JSON, by name."""
    code, output = run("--json", **environment)
    assert code == 0
    return {each["name"]: each for each in json.loads(output)["plugins"]}


def test_the_installed_plugins_are_shown_with_or_without_list() -> None:
    assert set(BUNDLED) <= set(shown())
    simple = shown()["simple"]
    assert (simple["status"], simple["distribution"]) == ("loaded", "bot-runner-plugin-simple")
    assert simple["sources"] == ["simple/simple"]
    assert "container_options" in simple["hooks"]  # type: ignore[operator]
    assert run() == run("list")
    assert run("--json") == run("list", "--json")
    assert "offers" in run()[1]


@pytest.mark.parametrize(
    ("settings", "loaded", "reason"),
    [
        ({"PLUGINS_ALLOWED": "image"}, {"image"}, "PLUGINS_ALLOWED"),
        ({"PLUGINS_ALLOWED": "image,simple", "PLUGINS_DISABLED": "simple"}, {"image"}, "PLUGINS_DISABLED"),
        ({"PLUGINS_SAFE_MODE": "true"}, set(), "PLUGINS_SAFE_MODE"),
    ],
)
def test_why_one_is_not_loaded_is_said(settings: dict[str, str], loaded: set[str], reason: str) -> None:
    found = shown(**settings)
    assert {name for name, each in found.items() if each["status"] == "loaded"} == loaded
    assert reason in str(found["simple"]["problem"])
    assert reason in run(**settings)[1]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plugin from ``plugins new``, installed with ``pip install -e`` beside what is installed here."""
    folder = tmp_path_factory.mktemp("author")
    target = folder / "bot-runner-plugin-my-mode"
    code, output = run("new", "my-mode", "--folder", str(target))
    assert code == 0, output
    environment = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    here = sysconfig.get_path("purelib")
    [packages] = environment.glob("lib/*/site-packages")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "-e", str(target)], check=True, timeout=120)
    return target, python


def in_environment(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module in that environment."""
    return subprocess.run(
        [python, "-m", *arguments],
        cwd=python.parent,
        env={**os.environ, "WORKER_TOKEN": "x"},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_a_new_plugin_is_loaded(written: tuple[Path, Path]) -> None:
    _, python = written
    done = in_environment(python, "bot_runner_worker", "plugins", "--json")
    [report] = [each for each in json.loads(done.stdout)["plugins"] if each["name"] == "my-mode"]
    assert (report["status"], report["warning"], report["sources"]) == ("loaded", "", ["my-mode/my-mode"])


@pytest.mark.engine
def test_a_new_plugin_is_green(written: tuple[Path, Path]) -> None:
    target, python = written
    done = in_environment(python, "pytest", "-q", "-p", "no:cacheprovider", str(target))
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", ["my-mode", "bot-runner-plugin-my-mode", "Bot_Runner.plugin-my-mode"])
def test_a_new_plugin_is_checked(written: tuple[Path, Path], name: str) -> None:
    done = in_environment(written[1], "bot_runner_worker", "plugins", "check", name, "--no-engine")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_a_check_that_fails_says_so(written: tuple[Path, Path]) -> None:
    target, python = written
    params = target / "src" / "bot_runner_plugin_my_mode" / "params.py"
    before = params.read_text()
    params.write_text(before.replace("if not value.isprintable() or not value:", "if False:"))
    try:
        done = in_environment(python, "bot_runner_worker", "plugins", "check", "my-mode", "--no-engine")
    finally:
        params.write_text(before)
    assert done.returncode == 1
    assert "test_an_invalid_request_is_refused[an empty greeting]" in done.stdout


def test_the_style_of_a_new_plugin_is_the_house_style(written: tuple[Path, Path]) -> None:
    target, _ = written
    config = ["--config", REPOSITORY / "pyproject.toml"]
    for tool in (
        ["ruff", "check", *config, "--ignore", "RUF012"],
        ["ruff", "format", *config, "--check"],
        ["mypy", "--strict"],
    ):
        done = subprocess.run(
            [Path(sys.executable).parent / tool[0], *tool[1:], target / "src"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_one_that_announces_no_cases_is_checked_by_its_examples() -> None:
    command = [sys.executable, "-m", "bot_runner_worker", "plugins", "check", "custom_git", "--no-engine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_what_is_not_installed_is_said() -> None:
    code, output = run("check", "no-such-plugin")
    assert code == 2
    assert "no-such-plugin is no installed plugin" in output
    assert "bot-runner-plugin-simple" in output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("simple", "installed already"),
        ("My Mode", "lower-case"),
        ("a--b", "lower-case"),
        ("../x", "lower-case"),
    ],
)
def test_names_that_cannot_be_are_refused(name: str, words: str, tmp_path: Path) -> None:
    code, output = run("new", name, "--folder", str(tmp_path / "x"))
    assert code == 2
    assert words in output
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    assert run("new", "my-mode", "--folder", str(tmp_path))[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("version", "fence"), [("0.1.0", ">=0.1,<0.2"), ("0.9.3", ">=0.9,<0.10"), ("1.4.2", ">=1.4,<2")]
)
def test_the_fence_ends_where_things_may_break(version: str, fence: str) -> None:
    assert fence_for(version) == fence
