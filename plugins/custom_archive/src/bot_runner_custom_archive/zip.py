"""Reads a zip of unknown origin into a project tree.

The standard library parses the central directory, after it was held to a size, and decompresses the entries;
all that makes readers disagree about what a zip holds is refused: data before, between or behind the entries,
entries that overlap (a bomb without nesting), encryption, names with NUL.

Source of the format: PKWARE APPNOTE 6.3.10.
"""

import stat
import struct
import zipfile
import zlib
from typing import IO

from bot_runner_custom_archive.errors import broken, unsafe
from bot_runner_worker.plugin import checked_path
from bot_runner_worker.projects import ProjectTreeWriter

_END = b"PK\x05\x06"
_END_SIZE = 22
_LOCAL_SIZE = 30
_MAX_COMMENT = 0xFFFF
_MAX_DIRECTORY = 16 * 1024 * 1024
_MAX_ENTRIES = 50_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""LZMA entries may ask for 4 GiB of memory, and bzip2 ones are hardly ever seen."""
_UNIX = 3
_ENCRYPTED = 0x1


def read_zip(source: IO[bytes], size: int, writer: ProjectTreeWriter) -> None:
    """Read a whole zip.

    Args:
        source: The file.
        size: Its size in bytes.
        writer: Takes the files.

    Raises:
        Rejected: ``INVALID_ARCHIVE``, ``UNSAFE_ARCHIVE`` or ``ARCHIVE_TOO_LARGE``.
    """
    _check_end(source, size)
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            _check_layout(entries, source, archive.start_dir)
            for entry in entries:
                writer.deadline.check()
                _add(archive, entry, writer)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError) as error:
        raise broken(f"is a damaged zip ({str(error)[:120]})") from None
    except (UnicodeError, ValueError, OverflowError):
        raise broken("is a damaged zip") from None


def _check_end(source: IO[bytes], size: int) -> None:
    source.seek(max(0, size - _END_SIZE - _MAX_COMMENT))
    tail = source.read()
    position = tail.rfind(_END)
    if position < 0 or len(tail) - position < _END_SIZE:
        raise broken("is a zip that is cut off: its directory is missing")
    disk, start_disk, here, entries, directory, offset, comment = struct.unpack_from(
        "<4H2LH", tail, position + 4
    )
    if position + _END_SIZE + comment != len(tail):
        raise unsafe("is a zip with something behind its end")
    if 0xFFFFFFFF in (directory, offset) or 0xFFFF in (entries, here):
        raise unsafe("is a zip64, which a bot's project has no need for")
    if disk or start_disk or here != entries:
        raise unsafe("is a part of a zip")
    if entries > _MAX_ENTRIES or directory > _MAX_DIRECTORY:
        raise unsafe("has a directory of an impossible size")
    if offset + directory != size - len(tail) + position:
        raise unsafe("is a zip with something before or between its entries")


def _check_layout(entries: list[zipfile.ZipInfo], source: IO[bytes], directory: int) -> None:
    end = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if entry.header_offset < end:
            raise unsafe("is a zip with overlapping entries")
        source.seek(entry.header_offset)
        header = source.read(_LOCAL_SIZE)
        if len(header) < _LOCAL_SIZE:
            raise broken("is a zip that is cut off")
        name_length, extra_length = struct.unpack_from("<2H", header, 26)
        end = entry.header_offset + _LOCAL_SIZE + name_length + extra_length + entry.compress_size
    if end > directory:
        raise unsafe("is a zip with overlapping entries")


def _add(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, writer: ProjectTreeWriter) -> None:
    # The library cuts a name at NUL: two readers would see two names.
    name = entry.orig_filename
    shown = repr(name[:80])
    mode = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
    kind = stat.S_IFMT(mode)
    if entry.flag_bits & _ENCRYPTED:
        raise broken(f"is encrypted: {shown}")
    if name.endswith("/"):
        checked_path(name.rstrip("/"), code=writer.codes.unsafe)
        if entry.file_size:
            raise unsafe(f"gives the folder {shown} a content")
        return
    if kind not in (0, stat.S_IFREG):
        raise unsafe(f"holds a link, device or other special file: {shown}")
    if entry.compress_type not in _METHODS:
        raise broken(f"is compressed in a way that is not read here: {shown}")
    if is_junk(name):
        return
    # The library gives no more than the size that it was told, and compares the checksum at its end.
    with archive.open(entry) as content:
        writer.add(name, content, entry.file_size, executable=bool(mode & stat.S_IXUSR))


def is_junk(path: str) -> bool:
    """Whether a file is one that macOS puts beside the real ones."""
    return path.startswith("__MACOSX/") or path.rpartition("/")[2].startswith("._")
