"""The Dockerfile of a Python project that brings none: the same bot process as in mode ``simple``."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement

from bot_runner_worker.images.packages.pip import PIP_INSTALL
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects.tree import ProjectTree

FOLDER = "/app"
USER = 10001
"""Numeric, since the base image need not know the user; the same as in mode ``simple``."""

GENERATED_FOLDER = ".bot-runner"
_MAX_DESCRIPTION = 256 * 1024


@dataclass(frozen=True, slots=True)
class Dependencies:
    """How a project's dependencies are installed.

    Args:
        origin: The file that names them.
        lines: Requirements to install before the code is there, so that they stay cached while it changes.
        install: Arguments of ``pip install`` in the project's folder, once the code is there; empty for none.
    """

    origin: str
    lines: tuple[str, ...] = ()
    install: str = ""


def find_dependencies(tree: ProjectTree) -> Dependencies | None:
    """How the project says what it needs: ``requirements.txt``, else ``pyproject.toml``, else ``None``.

    Raises:
        Rejected: ``INVALID_PROJECT`` if the file cannot be read, or its project cannot be installed.
    """
    if "requirements.txt" in tree.files:
        return _of_requirements(_text(tree, "requirements.txt"))
    if "pyproject.toml" in tree.files:
        return _of_pyproject(_text(tree, "pyproject.toml"))
    return None


def _text(tree: ProjectTree, path: str) -> str:
    if tree.files[path].size > _MAX_DESCRIPTION:
        raise _invalid(path, f"is larger than {_MAX_DESCRIPTION // 1024} KiB")
    try:
        return tree.read(path, _MAX_DESCRIPTION).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _invalid(path, "is not UTF-8 text") from None


def _of_requirements(text: str) -> Dependencies:
    lines = [line.strip() for line in text.splitlines()]
    names = [line.split(" #", 1)[0].strip() for line in lines if line and not line.startswith("#")]
    # Options, other files and local packages are pip's to read, in the build's cage, with the code at hand.
    if not all(_is_plain(line) for line in names):
        return Dependencies("requirements.txt", install="-r requirements.txt")
    return Dependencies("requirements.txt", lines=tuple(names))


def _is_plain(line: str) -> bool:
    try:
        return Requirement(line).url is None
    except InvalidRequirement:
        return False


def _of_pyproject(text: str) -> Dependencies:
    origin = "pyproject.toml"
    try:
        description = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _invalid(origin, f"is not valid TOML: {str(error)[:200]}") from None
    project = _table(description, "project")
    poetry = _table(_table(description, "tool"), "poetry")
    lines: Sequence[object] = project.get("dependencies") or []  # type: ignore[assignment]
    if not isinstance(lines, list) or not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise _invalid(origin, "has dependencies that are not a list of texts")
    if poetry and poetry.get("package-mode") is False and not project:
        raise Rejected(
            "INVALID_PROJECT",
            "pyproject.toml describes a Poetry project that is no package, which pip cannot install.",
            hint="List its dependencies in [project] or in requirements.txt, or add a Dockerfile.",
        )
    # As uv has it: without a build system there is nothing to install but the dependencies.
    install = "." if "build-system" in description and poetry.get("package-mode") is not False else ""
    return Dependencies(origin, lines=tuple(str(line) for line in lines), install=install)


def _table(parent: dict[str, object], name: str) -> dict[str, object]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _invalid(path: str, what: str) -> Rejected:
    return Rejected("INVALID_PROJECT", f"{path} {what}.", hint=f"Correct {path}, or add a Dockerfile.")


def python_dockerfile(base_id: str, dependencies: Dependencies, command: Sequence[str]) -> str:
    """The Dockerfile of a Python project.

    Args:
        base_id: Id of the base image.
        dependencies: What to install, and when.
        command: What to run; words, never a shell's line.
    """
    lines = [f"FROM {base_id}", f"ENV PYTHONUNBUFFERED=1 HOME={FOLDER}"]
    if dependencies.lines:
        lines += [
            f"COPY {GENERATED_FOLDER}/requirements.txt /tmp/requirements.txt",
            f"RUN {PIP_INSTALL} -r /tmp/requirements.txt",
        ]
    # Before WORKDIR, which would make the folder root's: bots keep their databases beside their code.
    lines += [f"COPY --chown={USER}:{USER} . {FOLDER}", f"WORKDIR {FOLDER}"]
    if dependencies.install:
        lines.append(f"RUN {PIP_INSTALL} {dependencies.install}")
    # For packages in src that are run from where they are; the folder need not exist.
    lines += [f"ENV PYTHONPATH={FOLDER}:{FOLDER}/src", f"USER {USER}:{USER}"]
    lines.append(f"CMD {json.dumps(list(command))}")
    return "\n".join(lines) + "\n"
