"""Walks a folder in a fixed order, leaving out what must not be sent."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from bot_runner_cli.errors import UsageError

_HARMLESS_ENV_FILES = frozenset({".env.example", ".env.sample", ".env.template", ".env.dist"})


def holds_secrets(name: str) -> bool:
    """Whether a file of this name is a dotenv file with real values: ``.env``, ``.env.production`` …"""
    return name == ".env" or (name.startswith(".env.") and name not in _HARMLESS_ENV_FILES)


def env_files_note(left_out: Collection[str]) -> tuple[str, ...]:
    """Say which dotenv files were left out, and what to do instead."""
    if not left_out:
        return ()
    names = ", ".join(sorted(left_out))
    return (f"Not sent: {names}. Its values reach the bot with --env-file instead.",)


def walk(root: Path, leave_out: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield all paths under a folder, parents first, sorted by name; symbolic links are not followed.

    Args:
        root: The folder.
        leave_out: Told each path; ``True`` leaves it, and what is below it, out.

    Raises:
        UsageError: Something cannot be read, or has a name that is not Unicode.
    """
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(root, error) from error
    for entry in entries:
        path = Path(entry.path)
        if leave_out(path):
            continue
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{os.fsencode(path)!r}: the name is not Unicode.", hint="Rename it.") from None
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from walk(path, leave_out)


def unreadable(path: Path, error: OSError) -> UsageError:
    """The error for a path that cannot be read."""
    return UsageError(f"{path} cannot be read: {error.strerror or error}.")
