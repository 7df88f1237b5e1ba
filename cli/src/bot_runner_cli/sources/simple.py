"""Mode ``simple``: Python files, sent as text."""

import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bot_runner_cli.errors import UsageError
from bot_runner_cli.requirements import REQUIREMENTS_FILE, from_text
from bot_runner_cli.sources.folder import env_files_note, holds_secrets, unreadable, walk
from bot_runner_cli.sources.model import Source

MAX_SIZE = 4 * 1024 * 1024
STDIN = Path("-")
_ENTRYPOINTS = ("bot.py", "main.py", "__main__.py", "app.py")
_SKIPPED_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn", ".idea", ".vscode"),
        *("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox"),
        *(".venv", "venv", "node_modules"),
    }
)
_SKIPPED_FILES = frozenset({".DS_Store", "Thumbs.db"})


def simple_source(
    paths: Sequence[Path], requirements: Sequence[str] | None, entrypoint: str | None
) -> Source:
    """Read the files.

    Args:
        paths: A file, several files and folders, or ``-`` for code from stdin. A single folder's contents
            are sent; among several paths a folder keeps its name, so that it can be imported.
        requirements: Packages; ``None`` reads a ``requirements.txt`` among the files.
        entrypoint: The file to run; ``None`` guesses.

    Raises:
        UsageError: A file is missing, not text or too large, or the entrypoint cannot be told.
    """
    if list(paths) == [STDIN]:
        return _source({"code": sys.stdin.read()}, requirements, entrypoint)
    collection = _Collection()
    for path in paths:
        collection.add(path, keep_name=len(paths) > 1)
    files = collection.files
    if not files:
        raise UsageError(f"There is nothing to send in {paths[0]}.")
    if requirements is None and REQUIREMENTS_FILE in files:
        requirements = from_text(files[REQUIREMENTS_FILE], collection.requirements_folder)
    return _source(
        {"files": files},
        requirements,
        entrypoint or _guess_entrypoint(files),
        env_files_note(collection.left_out),
    )


def _source(
    content: dict[str, Any],
    requirements: Sequence[str] | None,
    entrypoint: str | None,
    notes: tuple[str, ...] = (),
) -> Source:
    params = {"deployment_mode": "simple", **content, "requirements": list(requirements or [])}
    if entrypoint is not None:
        params["entrypoint"] = entrypoint
    return Source(params, notes)


class _Collection:
    """Files by the path that they will have beside the bot."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.left_out: list[str] = []
        self.requirements_folder = Path()
        self._size = 0

    def add(self, path: Path, *, keep_name: bool) -> None:
        if path == STDIN:
            raise UsageError("Code from stdin (-) cannot be combined with files.")
        if path.is_file():
            self._add_file(path, path.resolve().name if path.name == "" else path.name)
        elif path.is_dir():
            prefix = PurePosixPath(path.resolve().name) if keep_name else PurePosixPath()
            for found in walk(path, self._leaves_out):
                if not found.is_dir():
                    _stay_inside(found, path)
                    self._add_file(found, str(prefix / PurePosixPath(found.relative_to(path).as_posix())))
        else:
            raise UsageError(f"There is no file or folder {path}.")

    def _leaves_out(self, path: Path) -> bool:
        if holds_secrets(path.name):
            self.left_out.append(path.name)
            return True
        if path.is_dir():
            # pyvenv.cfg marks a virtual environment, whatever its name (PEP 405).
            return path.is_symlink() or path.name in _SKIPPED_FOLDERS or (path / "pyvenv.cfg").exists()
        return path.name in _SKIPPED_FILES or path.suffix == ".pyc"

    def _add_file(self, path: Path, name: str) -> None:
        if name in self.files:
            raise UsageError(
                f"Two of the files would both be called {name}.", hint="Give their folder instead."
            )
        try:
            if not path.is_file():
                raise UsageError(f"{path} is not a regular file.")
            self._size += path.stat().st_size
            if self._size > MAX_SIZE:
                raise UsageError(
                    f"The files are larger than {MAX_SIZE >> 20} MiB in all (reached at {path}).",
                    hint="Mode simple is for source text; send a larger project with --custom or --git.",
                )
            content = path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise UsageError(
                f"{path} is not text in UTF-8; mode simple sends only text.",
                hint="Leave it out, or send the whole folder with --custom.",
            )
        if name == REQUIREMENTS_FILE:
            self.requirements_folder = path.parent
        self.files[name] = text


def _stay_inside(path: Path, root: Path) -> None:
    """A link that leads out of the folder would send what the user did not point at."""
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path} is a link that leads out of {root}.", hint="Copy the file into the folder.")


def _guess_entrypoint(files: dict[str, str]) -> str:
    for name in _ENTRYPOINTS:
        if name in files:
            return name
    modules = [name for name in files if name.endswith(".py") and "/" not in name]
    if len(modules) == 1:
        return modules[0]
    if not modules and len(files) == 1:
        return next(iter(files))
    found = f"; there are {', '.join(sorted(modules))}" if modules else ""
    raise UsageError(
        f"Which file starts the bot? There is no {', '.join(_ENTRYPOINTS)}{found}.",
        hint="Say it with --entrypoint FILE.",
    )
