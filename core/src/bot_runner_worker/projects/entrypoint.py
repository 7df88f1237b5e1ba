"""What a Python project without a Dockerfile runs."""

import re
import shlex
from collections.abc import Iterable

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.paths import checked_path
from bot_runner_worker.projects.tree import ProjectTree

LOOKED_FOR = ("main.py", "bot.py", "__main__.py")
_MAX_PROCFILE = 16 * 1024
_SHELL_CHARACTERS = set("|&;<>()$`*?\n")


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
    """The command of a Python project, and where it comes from in a few words; ``None`` if it is not obvious.

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
