"""Python projects without a Dockerfile: one is generated."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot_runner_worker.images.packages import PIP_INSTALL
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.paths import checked_path
from bot_runner_worker.model.requirements import names_packages, without_comments
from bot_runner_worker.projects.tree import ProjectTree

BOT_FOLDER = "/app"
"""Where bots of the modes for Python code run."""

BOT_USER = 10001
"""Who they run as: a number, since the base image need not know the user, above those of system users."""

GENERATED_FOLDER = ".bot-runner"
_MAX_DESCRIPTION = 256 * 1024

LOOKED_FOR = ("main.py", "bot.py", "__main__.py")
_MAX_PROCFILE = 16 * 1024
_SHELL_CHARACTERS = set("|&;<>()$`*?\n")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """How a project's dependencies are installed.

    Args:
        origin: The file that names them.
        lines: Requirements to install before the code is copied, so that they stay cached when it changes.
        install: Arguments of ``pip install`` in the project's folder after that; empty for none.
    """

    origin: str
    lines: tuple[str, ...] = ()
    install: str = ""


def find_dependencies(tree: ProjectTree) -> Dependencies | None:
    """Read the dependencies from ``requirements.txt``, else ``pyproject.toml``.

    Returns:
        ``None`` if it has neither.

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
    names = without_comments(text.splitlines())
    # Options, other files and local packages are left to pip, in the build sandbox, with the code in place.
    if not names_packages(names):
        return Dependencies("requirements.txt", install="-r requirements.txt")
    return Dependencies("requirements.txt", lines=tuple(names))


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


def checked_entrypoint(value: str) -> str:
    """Check the ``entrypoint`` of a request.

    Args:
        value: Relative path of a Python file.

    Raises:
        Rejected: ``INVALID_ENTRYPOINT``.
    """
    path = checked_path(value, code=Code.INVALID_ENTRYPOINT)
    # It is passed as an argument of the interpreter: a leading dash would be an option.
    if path.startswith("-") or not path.endswith(".py"):
        raise Rejected(
            Code.INVALID_ENTRYPOINT,
            "The entrypoint is not a Python file.",
            hint="Name a file that ends with .py, such as bot.py or app/main.py.",
        )
    return path


def find_command(tree: ProjectTree, entrypoint: str | None) -> tuple[list[str], str] | None:
    """Find the command of a Python project, and where it comes from in a few words.

    Returns:
        ``None`` if the command is not obvious.

    Args:
        tree: The project.
        entrypoint: What the request names, checked.

    Raises:
        Rejected: ``INVALID_ENTRYPOINT`` if the request names a file that is not there, or the ``worker`` line
            of the Procfile needs a shell.
    """
    if entrypoint is not None:
        if entrypoint not in tree.files:
            raise Rejected(
                Code.INVALID_ENTRYPOINT,
                f"The entrypoint {entrypoint} is not among the project's files.",
                hint="Set entrypoint to the path of a Python file inside the project.",
                details={"files": _python_files(tree.files)},
            )
        return _command_of(entrypoint), f"the entrypoint {entrypoint}"
    if command := _procfile_command(tree):
        return command, "the worker line of the Procfile"
    candidates = [name for name in LOOKED_FOR if name in tree.files]
    if not candidates:
        candidates = [path for path in tree.files if re.fullmatch(r"(src/)?[A-Za-z_]\w*/__main__\.py", path)]
    if len(candidates) == 1:
        return _command_of(candidates[0]), candidates[0]
    return None


def _command_of(path: str) -> list[str]:
    folder, _, name = path.rpartition("/")
    module = folder.removeprefix("src/").replace("/", ".")
    # A package is run as one, or its relative imports would fail.
    if name == "__main__.py" and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module):
        return ["python3", "-m", module]
    return ["python3", path]


def _procfile_command(tree: ProjectTree) -> list[str] | None:
    if "Procfile" not in tree.files:
        return None
    text = tree.read("Procfile", _MAX_PROCFILE).decode(errors="replace")
    found = re.search(r"^worker:[ \t]*(\S.*)$", text, re.MULTILINE)
    if found is None:
        return None
    line = found.group(1).strip()
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    if not words or _SHELL_CHARACTERS & set(line) or "=" in words[0]:
        raise Rejected(
            Code.INVALID_ENTRYPOINT,
            "The worker line of the Procfile needs a shell.",
            hint="Write one plain command without variables, pipes or redirections, or add a Dockerfile.",
        )
    return ["python3" if words[0] == "python" else words[0], *words[1:]]


def _python_files(paths: Iterable[str]) -> list[str]:
    return sorted(path for path in paths if path.endswith(".py"))[:100]


def python_dockerfile(base_id: str, dependencies: Dependencies, command: Sequence[str]) -> str:
    """Write the Dockerfile of a Python project.

    The bot's process is the same as in mode ``simple``.

    Args:
        base_id: Id of the base image.
        dependencies: What to install, and when.
        command: What to run; words, never a shell's line.
    """
    lines = [f"FROM {base_id}", f"ENV PYTHONUNBUFFERED=1 HOME={BOT_FOLDER}"]
    if dependencies.lines:
        lines += [
            f"COPY {GENERATED_FOLDER}/requirements.txt /tmp/requirements.txt",
            f"RUN {PIP_INSTALL} -r /tmp/requirements.txt",
        ]
    # Before WORKDIR, which would make the folder root's: bots keep their databases beside their code.
    lines += [f"COPY --chown={BOT_USER}:{BOT_USER} . {BOT_FOLDER}", f"WORKDIR {BOT_FOLDER}"]
    if dependencies.install:
        lines.append(f"RUN {PIP_INSTALL} {dependencies.install}")
    # For packages in src that are run from where they are; the folder need not exist.
    lines += [f"ENV PYTHONPATH={BOT_FOLDER}:{BOT_FOLDER}/src", f"USER {BOT_USER}:{BOT_USER}"]
    lines.append(f"CMD {json.dumps(list(command))}")
    return "\n".join(lines) + "\n"
