"""The one rule for paths of files that strangers name: below a folder, on any file system."""

import re
import unicodedata

from bot_runner_worker.model.errors import Code, Rejected

MAX_FILES = 20_000
_MAX_PATH = 1024
_MAX_NAME = 255
_REFUSED = re.compile(r"[\x00-\x1f\x7f\\]")


def checked_path(path: str, *, code: str = Code.INVALID_PATH) -> str:
    """Check that ``path`` names a file inside a folder, on any file system.

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
