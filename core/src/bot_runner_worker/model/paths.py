"""The rule for paths of a bot's files: valid and unique on any file system."""

import re
import unicodedata
from pathlib import PurePosixPath

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.quantities import format_size

MAX_FILES = 20_000
_MAX_PATH = 1024
_MAX_NAME = 255
_REFUSED = re.compile(r"[\x00-\x1f\x7f\\]")


def checked_path(path: str, *, code: str = Code.INVALID_PATH) -> str:
    """Check that a path names a file below a folder, on any file system.

    Args:
        path: A relative POSIX path, such as ``handlers/start.py``.
        code: Code of the error.

    Returns:
        The path in normal form: no ``.`` parts, no doubled slashes, Unicode NFC.

    Raises:
        Rejected: If it is empty, absolute, leads upwards, is too long or holds control characters or
            backslashes.
    """
    hint = "Use relative paths with forward slashes, such as bot.py or handlers/start.py."

    def reject(reason: str) -> Rejected:
        shown = path[:80].encode("unicode_escape").decode()
        return Rejected(code, f"The path {shown!r} {reason}.", hint=hint, details={"path": shown})

    try:
        path.encode()
    except UnicodeEncodeError:
        raise reject("is not valid Unicode") from None
    if _REFUSED.search(path):
        raise reject("holds control characters or backslashes")
    if path.startswith("/") or (len(path) > 1 and path[1] == ":"):
        raise reject("is absolute")
    parts = [part for part in unicodedata.normalize("NFC", path).split("/") if part not in ("", ".")]
    if not parts or path.endswith("/"):
        raise reject("names no file")
    if ".." in parts:
        raise reject("leads out of the bot's folder")
    if len(path.encode()) > _MAX_PATH or any(len(part.encode()) > _MAX_NAME for part in parts):
        raise reject("is too long")
    return "/".join(parts)


class FileManifest:
    """The paths of a bot's files, unique on any file system.

    It also limits the number and the size of the files.

    Args:
        max_size: Largest sum of file sizes in bytes.
        max_files: Largest number of files.
        path_code: Code of the error for a path.
        size_code: Code of the error for too many or too large files.
    """

    def __init__(
        self,
        max_size: int,
        max_files: int = MAX_FILES,
        *,
        path_code: str = Code.INVALID_PATH,
        size_code: str = Code.CONTEXT_TOO_LARGE,
    ) -> None:
        self._max_size = max_size
        self._max_files = max_files
        self._path_code = path_code
        self._size_code = size_code
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._size = 0

    def add(self, path: str, size: int) -> str:
        """Add a file; returns its path in normal form, see :func:`checked_path`.

        Args:
            path: A relative POSIX path.
            size: The file's size in bytes.

        Raises:
            Rejected: With the code for paths or the code for sizes.
        """
        name = checked_path(path, code=self._path_code)
        key = name.casefold()
        parents = [str(parent) for parent in PurePosixPath(key).parents][:-1]
        if key in self._files or key in self._folders or not self._files.isdisjoint(parents):
            raise Rejected(
                self._path_code,
                f"The path {name!r} is there twice, or is a file and a folder at once.",
                hint="Give each file a path of its own; upper and lower case do not make a difference.",
                details={"path": name},
            )
        self._files.add(key)
        self._folders.update(parents)
        self._size += size
        if len(self._files) > self._max_files:
            raise Rejected(
                self._size_code,
                f"The bot has more than {self._max_files} files.",
                hint="Leave out what the bot does not need.",
                details={"limit_files": self._max_files},
            )
        if self._size > self._max_size:
            raise Rejected(
                self._size_code,
                f"The bot's files are larger than {format_size(self._max_size)} in all.",
                hint="Leave out what the bot does not need, or ask the operator to raise MAX_CONTEXT_SIZE.",
                details={"limit_bytes": self._max_size},
            )
        return name
