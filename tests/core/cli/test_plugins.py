"""``bot-runner-worker plugins``: what it shows, and a plugin that is written, installed and checked."""

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import hatchling.build
import pytest
from tests.images.docker_cli import REPOSITORY
from typer.testing import CliRunner

from bot_runner_worker.cli import app
from bot_runner_worker.cli.plugins import commands
from bot_runner_worker.cli.plugins.commands import compatible_versions
from bot_runner_worker.testing import conformance

pytest_plugins = "pytester"

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
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin from ``plugins new``."""
    target = tmp_path_factory.mktemp("author") / "bot-runner-plugin-my-mode"
    code, output = run("new", "my-mode", "--folder", str(target))
    assert code == 0, output
    return target


@pytest.fixture
def installed(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder with its wheel's files, where this process finds it."""
    monkeypatch.chdir(written)
    wheel = tmp_path / hatchling.build.build_wheel(str(tmp_path))
    shutil.unpack_archive(wheel, tmp_path, "zip")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("bot_runner_plugin_my_mode")]:
        del sys.modules[name]


@pytest.fixture
def checked(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs ``plugins check`` with its tests in this process."""

    def pytest_here(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "pytest"]
        return subprocess.CompletedProcess(command, pytester.inline_run(*command[3:], "-p", "no:asyncio").ret)

    def check(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(commands.subprocess, "run", pytest_here)
        monkeypatch.setattr(conformance, "CLOCK_SECONDS", 0)
        return run("check", *arguments)

    return check


def test_a_new_plugin_is_loaded(installed: Path) -> None:
    report = shown()["my-mode"]
    assert (report["status"], report["warning"], report["sources"]) == ("loaded", "", ["my-mode/my-mode"])


@pytest.mark.parametrize("name", ["my-mode", "bot-runner-plugin-my-mode", "Bot_Runner.plugin-my-mode"])
def test_a_plugin_is_found_by_its_name_and_its_distributions(installed: Path, name: str) -> None:
    assert [entry.name for entry in commands.plugins_of(name)] == ["my-mode"]


def test_a_new_plugin_is_checked(installed: Path, checked: Callable[..., tuple[int, str]]) -> None:
    code, output = checked("my-mode", "--no-engine", "-v")
    assert code == 0, output
    assert "passed" in output
    assert "on_the_engine" not in output


def test_a_check_that_fails_says_so(installed: Path, checked: Callable[..., tuple[int, str]]) -> None:
    params = installed / "bot_runner_plugin_my_mode" / "params.py"
    params.write_text(params.read_text().replace("if not value.isprintable() or not value:", "if False:"))
    code, output = checked("my-mode", "--no-engine")
    assert code == 1
    assert "test_an_invalid_request_is_refused[an empty greeting]" in output


@pytest.mark.engine
def test_a_new_plugin_that_pip_installed_is_green(written: Path, tmp_path: Path) -> None:
    """In an environment of its own beside what is installed here, with its own tests, also on the Engine."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    [packages] = tmp_path.glob("env/lib/*/site-packages")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "-e", written], check=True, timeout=120)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", written]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "tool",
    [
        "ruff check --config pyproject.toml --ignore RUF012",
        "ruff format --config pyproject.toml --check",
        pytest.param("mypy --strict", marks=pytest.mark.slow),
    ],
)
def test_the_style_of_a_new_plugin_is_the_house_style(written: Path, tool: str) -> None:
    program, *arguments = tool.split()
    command = [Path(sys.executable).parent / program, *arguments, written / "src"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
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
    ("version", "pin"), [("0.1.0", ">=0.1,<0.2"), ("0.9.3", ">=0.9,<0.10"), ("1.4.2", ">=1.4,<2")]
)
def test_the_pin_ends_where_things_may_break(version: str, pin: str) -> None:
    assert compatible_versions(version) == pin
