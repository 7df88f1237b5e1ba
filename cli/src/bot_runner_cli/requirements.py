"""``-r``: requirement files and specifiers, flattened into a list for the worker to check."""

import re
from collections.abc import Sequence
from pathlib import Path

from bot_runner_cli.errors import UsageError

REQUIREMENTS_FILE = "requirements.txt"
_COMMENT = re.compile(r"(^|\s)#.*$")
_NESTED = re.compile(r"^(?:-r\s*|--requirement[\s=]\s*)(.+)$")
_MAX_DEPTH = 10


def resolve(values: Sequence[str]) -> list[str]:
    """Flatten the values of ``-r``.

    Args:
        values: Each is a file, or a specifier such as ``aiogram>=3``.

    Raises:
        UsageError: A file is missing, or files include each other without end.
    """
    found: list[str] = []
    for value in values:
        path = Path(value)
        if path.is_file() or path.suffix in (".txt", ".in"):
            found += _from_file(path)
        else:
            found.append(value)
    return found


def from_text(text: str, folder: Path) -> list[str]:
    """Read the text of a requirements file: comments, continued lines and ``-r OTHER`` are resolved.

    Any other option is passed on: the worker knows which ones it refuses, and says why.

    Args:
        text: The file's content.
        folder: Where the file lies, for ``-r OTHER``.
    """
    return _from_text(text, folder, depth=0)


def _from_file(path: Path, depth: int = 0) -> list[str]:
    if depth > _MAX_DEPTH:
        raise UsageError(f"{path}: requirement files include each other without end.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}.") from error
    return _from_text(text, path.parent, depth)


def _from_text(text: str, folder: Path, depth: int) -> list[str]:
    found: list[str] = []
    for raw in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        line = _COMMENT.sub("", raw).strip()
        nested = _NESTED.match(line)
        if nested:
            found += _from_file(folder / nested[1].strip(), depth + 1)
        elif line:
            found.append(line)
    return found
