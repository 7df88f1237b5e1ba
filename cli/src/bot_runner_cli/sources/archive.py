"""Mode ``custom``, source archive: a local folder or archive file, sent within the request."""

import base64
import gzip
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

from bot_runner_cli.errors import UsageError
from bot_runner_cli.sources.folder import env_files_note, holds_secrets, unreadable, walk
from bot_runner_cli.sources.model import Source

MAX_SIZE = 32 * 1024 * 1024
_IN_MEMORY = 8 * 1024 * 1024
_CHUNK = 64 * 1024


def folder_source(folder: Path, include: Collection[str] = ()) -> Source:
    """Pack a folder.

    Everything is sent but ``.git`` and dotenv files; what else a ``.dockerignore`` leaves out is the worker's
    to decide. The same content gives the same bytes: names sorted, owners and times zeroed.

    Args:
        folder: The folder.
        include: Names to send although they are left out by default, such as ``.env``.

    Raises:
        UsageError: The folder is empty, too large or cannot be read.
    """
    left_out: list[str] = []

    def leave_out(path: Path) -> bool:
        if path.name in include:
            return False
        if holds_secrets(path.name):
            left_out.append(path.name)
            return True
        return path.name == ".git"

    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as packed:
        count = 0
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as archive,
        ):
            for path in walk(folder, leave_out):
                count += _pack(archive, path, path.relative_to(folder).as_posix())
                _check_size(packed.tell(), folder)
        _check_size(packed.tell(), folder)
        if not count:
            raise UsageError(f"There is nothing to send in {folder}.")
        return _source(packed, env_files_note(left_out))


def file_source(path: Path) -> Source:
    """Send an archive file as it is.

    Raises:
        UsageError: It is no tar or zip archive, too large or cannot be read.
    """
    try:
        if not (tarfile.is_tarfile(path) or zipfile.is_zipfile(path)):
            raise UsageError(
                f"{path} is neither a tar nor a zip archive.",
                hint="Python files are sent with --simple, a project's folder with --custom FOLDER.",
            )
        _check_size(path.stat().st_size, path)
        with path.open("rb") as content:
            return _source(content)
    except OSError as error:
        raise unreadable(path, error) from error


def _source(content: IO[bytes], notes: tuple[str, ...] = ()) -> Source:
    content.seek(0)
    archive = base64.b64encode(content.read()).decode("ascii")
    return Source({"deployment_mode": "custom", "archive": archive}, notes)


def _check_size(size: int, path: Path) -> None:
    if size > MAX_SIZE:
        raise UsageError(
            f"{path} is larger than {MAX_SIZE >> 20} MiB when packed.",
            hint="Let the worker fetch it: --git URL, or --custom with the URL of an archive.",
        )


def _pack(archive: tarfile.TarFile, path: Path, name: str) -> int:
    """Add a path with nothing of this machine in it; returns how many members that made."""
    try:
        status = path.lstat()
        member = tarfile.TarInfo(name)
        if stat.S_ISLNK(status.st_mode):
            member.type, member.linkname, member.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
            archive.addfile(member)
        elif stat.S_ISDIR(status.st_mode):
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        elif stat.S_ISREG(status.st_mode):
            member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            member.size = status.st_size
            with path.open("rb", buffering=_CHUNK) as content:
                archive.addfile(member, content)
        else:
            # Sockets and pipes are traces of running programs, not content.
            return 0
    except OSError as error:
        raise unreadable(path, error) from error
    return 1
