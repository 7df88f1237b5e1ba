"""Python projects without a Dockerfile: what is installed, what is run."""

import json

import pytest
from tests.core.projects.trees import tree_of

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects.python import (
    Dependencies,
    find_command,
    find_dependencies,
    python_dockerfile,
)


def command_of(*paths: str, entrypoint: str | None = None, procfile: str | None = None) -> list[str] | None:
    files = dict.fromkeys(paths, "")
    if procfile is not None:
        files["Procfile"] = procfile
    found = find_command(tree_of(files), entrypoint)
    return found and found[0]


def test_the_entrypoint_of_the_request_wins() -> None:
    command = command_of("main.py", "x/run.py", entrypoint="x/run.py", procfile="worker: python main.py")
    assert command == ["python3", "x/run.py"]


def test_an_entrypoint_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(Rejected) as caught:
        command_of("main.py", entrypoint="bot.py")
    assert caught.value.code == "INVALID_ENTRYPOINT"
    assert caught.value.details["files"] == ["main.py"]


def test_the_worker_line_of_a_procfile_is_split_and_not_given_to_a_shell() -> None:
    procfile = 'web: python web.py\nworker: python bot.py --name "my bot"\n'
    assert command_of("bot.py", procfile=procfile) == ["python3", "bot.py", "--name", "my bot"]


@pytest.mark.parametrize(
    "line", ["a && b", "a | b", "python $X", "X=1 python bot.py", "a; b", '"open', "`id`"]
)
def test_a_procfile_that_needs_a_shell_is_refused(line: str) -> None:
    with pytest.raises(Rejected) as caught:
        command_of("bot.py", procfile=f"worker: {line}")
    assert caught.value.code == "INVALID_ENTRYPOINT"


@pytest.mark.parametrize(
    ("paths", "command"),
    [
        (["main.py"], ["python3", "main.py"]),
        (["bot.py", "other.py"], ["python3", "bot.py"]),
        (["pkg/__main__.py", "pkg/x.py"], ["python3", "-m", "pkg"]),
        (["src/pkg/__main__.py"], ["python3", "-m", "pkg"]),
        (["main.py", "bot.py"], None),
        (["a/__main__.py", "b/__main__.py"], None),
        (["app.py"], None),
    ],
)
def test_what_is_obvious_is_run(paths: list[str], command: list[str] | None) -> None:
    assert command_of(*paths) == command


def dependencies_of(**files: str) -> Dependencies | None:
    return find_dependencies(tree_of({name.replace("_", "."): text for name, text in files.items()}))


def test_plain_requirements_are_installed_before_the_code_is_there() -> None:
    found = dependencies_of(requirements_txt="# comment\naiogram>=3  # why\n\nhttpx[http2]==0.28.1\n")
    assert found == Dependencies("requirements.txt", lines=("aiogram>=3", "httpx[http2]==0.28.1"))


@pytest.mark.parametrize("line", ["-r base.txt", "./lib", "--index-url https://x/", "x @ file:///x", "-e ."])
def test_requirements_that_look_further_are_installed_with_the_code(line: str) -> None:
    found = dependencies_of(requirements_txt=f"aiogram\n{line}\n")
    assert found == Dependencies("requirements.txt", install="-r requirements.txt")


def test_requirements_come_before_pyproject() -> None:
    found = dependencies_of(requirements_txt="", pyproject_toml="[project]\ndependencies = ['x']\n")
    assert found == Dependencies("requirements.txt")


def test_a_pyproject_without_a_build_system_is_its_dependencies() -> None:
    found = dependencies_of(pyproject_toml="[project]\nname = 'x'\ndependencies = ['aiogram>=3']\n")
    assert found == Dependencies("pyproject.toml", lines=("aiogram>=3",))


def test_a_pyproject_with_a_build_system_is_installed() -> None:
    text = "[project]\nname = 'x'\ndependencies = ['aiogram']\n[build-system]\nrequires = ['hatchling']\n"
    found = dependencies_of(pyproject_toml=text)
    assert found == Dependencies("pyproject.toml", lines=("aiogram",), install=".")


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[project]\ndependencies = 'x'\n",
        "x = " + "[" * 5000,
        "[tool.poetry]\npackage-mode = false\n",
    ],
)
def test_a_pyproject_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        dependencies_of(pyproject_toml=text)
    assert caught.value.code == "INVALID_PROJECT"


def test_the_dockerfile_never_gives_words_to_a_shell() -> None:
    words = ["python3", 'a"b', "$HOME; id", "back\\slash", "new\nline"]
    text = python_dockerfile("sha256:0", Dependencies("requirements.txt"), words)
    last = text.splitlines()[-1]
    assert json.loads(last.removeprefix("CMD ")) == words


def test_the_dockerfile_installs_first_and_runs_without_privileges() -> None:
    lines = python_dockerfile("sha256:0", Dependencies("requirements.txt", lines=("x",)), ["x"]).splitlines()
    install = next(number for number, line in enumerate(lines) if line.startswith("RUN "))
    copy = next(number for number, line in enumerate(lines) if line.startswith("COPY --chown=10001:10001 ."))
    assert lines[0] == "FROM sha256:0"
    assert install < copy < lines.index("USER 10001:10001") < len(lines) - 1
