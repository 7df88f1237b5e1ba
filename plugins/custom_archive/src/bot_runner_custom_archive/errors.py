"""Codes of what can be wrong with an archive, and where it comes from."""

from bot_runner_worker.plugin import Rejected
from bot_runner_worker.projects import TreeCodes

INVALID_ARCHIVE = "INVALID_ARCHIVE"
"""It is no archive, is damaged, or is cut off."""
UNSAFE_ARCHIVE = "UNSAFE_ARCHIVE"
"""It holds what a project has no use for and an attack has."""
ARCHIVE_TOO_LARGE = "ARCHIVE_TOO_LARGE"
ARCHIVE_TIMED_OUT = "ARCHIVE_TIMED_OUT"
INVALID_ARCHIVE_URL = "INVALID_ARCHIVE_URL"
DOWNLOAD_FAILED = "DOWNLOAD_FAILED"
DOWNLOAD_TIMED_OUT = "DOWNLOAD_TIMED_OUT"

CODES = TreeCodes(invalid=INVALID_ARCHIVE, unsafe=UNSAFE_ARCHIVE, too_large=ARCHIVE_TOO_LARGE)


def broken(what: str) -> Rejected:
    """An archive that cannot be read."""
    return Rejected(
        INVALID_ARCHIVE,
        f"The archive {what}.",
        hint="Send a tar (plain, gz, bz2 or xz) or a zip, for example made with "
        "tar -czf bot.tar.gz -C FOLDER .",
    )


def unsafe(what: str) -> Rejected:
    """An archive that no project needs."""
    return Rejected(
        UNSAFE_ARCHIVE,
        f"The archive {what}.",
        hint="Put plain files and folders into the archive, and nothing else.",
    )
