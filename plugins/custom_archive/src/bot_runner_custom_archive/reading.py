"""From the bytes of an archive to a project tree; what kind of archive it is, its first bytes say."""

import io
from typing import IO

from bot_runner_custom_archive.compression import Decompressed
from bot_runner_custom_archive.errors import CODES, broken
from bot_runner_custom_archive.zip import is_junk, read_zip
from bot_runner_worker.projects import Deadline, ProjectTree, ProjectTreeWriter, read_tar

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
_ELSEWHERE = {
    b"\x28\xb5\x2f\xfd": "is compressed with zstd, which is not read here",
    b"Rar!": "is a RAR archive, which is not read here",
    b"7z\xbc\xaf": "is a 7z archive, which is not read here",
    b"<": "is a web page, not an archive",
}
_OVERHEAD = 64 * 1024 * 1024
"""Headers and padding of a tar, above the files' own sizes."""
_BUFFER = 256 * 1024


def read_archive(source: IO[bytes], size: int, *, max_size: int, deadline: Deadline) -> ProjectTree:
    """Read an archive, file by file, into a tree; nothing is unpacked to disk.

    Args:
        source: The archive, seekable.
        size: Its size in bytes.
        max_size: Largest sum of the files' sizes in bytes.
        deadline: Of the whole reading.

    Returns:
        The tree below the single top folder, if there is one; the caller closes it.

    Raises:
        Rejected: ``INVALID_ARCHIVE``, ``UNSAFE_ARCHIVE`` or ``ARCHIVE_TOO_LARGE``.
    """
    kind = _kind(source)
    with ProjectTreeWriter(max_size=max_size, codes=CODES, deadline=deadline) as writer:
        if kind == "zip":
            read_zip(source, size, writer)
        else:
            read_tar(_decompressed(source, kind, max_size, deadline), writer, wanted=_is_wanted)
        tree = writer.finish()
    if not tree.files:
        tree.close()
        raise broken("holds no files")
    return tree.without_single_top_folder()


def _decompressed(source: IO[bytes], kind: str, max_size: int, deadline: Deadline) -> IO[bytes]:
    if kind == "tar":
        return source
    raw = Decompressed(source, kind, max_size=max_size + _OVERHEAD, deadline=deadline)
    return io.BufferedReader(raw, _BUFFER)


def _is_wanted(path: str) -> bool:
    return not is_junk(path)


def _kind(source: IO[bytes]) -> str:
    source.seek(0)
    head = source.read(265)
    source.seek(0)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    for magic, what in _ELSEWHERE.items():
        if head.startswith(magic):
            raise broken(what)
    # An old tar has no magic at all: its checksum is the sign.
    if len(head) < 265:
        raise broken("is no archive")
    return "tar"
