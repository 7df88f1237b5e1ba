"""A reader of tars of unknown origin.

The standard library's reader is not used: it reads PAX records of any size into memory before it returns a
member (a 204 kB gzip took 219 MB), accepts an archive that is cut off between two members, and has had
endless loops (CVE-2019-20907, CVE-2025-8194). This one supports files and folders, ustar names, and the path
and size records of PAX and GNU tar; each step reads at least one block, so it ends with its input.

Source of the format: POSIX.1-2017, ``pax``; GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.paths import checked_path
from bot_runner_worker.projects.tree import ProjectTreeWriter, Readable

BLOCK = 512
_ZERO = bytes(BLOCK)
_MAX_RECORDS_SIZE = 64 * 1024
"""Of one extension header; real ones hold a path, a size and a time."""
_MAX_HEADERS = 100_000
_MAX_FILE_SIZE = 1 << 40


class Links(Enum):
    """What happens to symbolic links; hard links and devices are always refused."""

    REFUSE = "refuse"
    SKIP = "skip"
    """Leave them out, with a note: for repositories, where links to documents are common."""


@dataclass(slots=True)
class _Header:
    name: str
    size: int
    mode: int
    kind: bytes


def read_tar(
    stream: Readable,
    writer: ProjectTreeWriter,
    *,
    links: Links = Links.REFUSE,
    wanted: Callable[[str], bool] = lambda _path: True,
) -> None:
    """Read a whole tar, up to the end of its stream.

    Args:
        stream: The decompressed tar.
        writer: Takes the files; its codes are those of the errors.
        links: What happens to symbolic links.
        wanted: Files for which it is false are left out without a note.

    Raises:
        Rejected: With one of the writer's codes.
    """
    _TarReader(stream, writer, links, wanted).run()


class _TarReader:
    def __init__(
        self, stream: Readable, writer: ProjectTreeWriter, links: Links, wanted: Callable[[str], bool]
    ) -> None:
        self._stream = stream
        self._writer = writer
        self._links = links
        self._wanted = wanted

    def run(self) -> None:
        extension: dict[str, str] = {}
        for _ in range(_MAX_HEADERS):
            self._writer.deadline.check()
            block = self._exactly(BLOCK)
            if block == _ZERO:
                self._end()
                return
            header = self._header(block)
            if header.kind in b"xgLK":
                extension |= self._extension(header)
                continue
            self._member(_with(extension, header, self))
            extension = {}
        raise Rejected(
            self._writer.codes.too_large,
            f"The archive has more than {_MAX_HEADERS} entries.",
            hint="Leave out what the bot does not need.",
        )

    def _end(self) -> None:
        # Without the second block the archive may have been cut off; content behind it is hidden from others.
        if self._exactly(BLOCK) != _ZERO:
            raise self.broken("has a stray empty block")
        while rest := self._stream.read(64 * 1024):
            self._writer.deadline.check()
            if rest.strip(b"\0"):
                raise self.unsafe("holds something behind its end")

    def _header(self, block: bytes) -> _Header:
        unsigned = sum(block[:148]) + 8 * 0x20 + sum(block[156:])
        if block[148] & 0x80 or self._number(block[148:156]) != unsigned:
            raise self.broken("is no tar, or is damaged (a header's checksum is wrong)")
        name = self._text(block[:100])
        if block[257:263] == b"ustar\0" and (prefix := self._text(block[345:500])):
            name = f"{prefix}/{name}"
        kind = block[156:157]
        if kind == b"\0":
            kind = b"5" if name.endswith("/") else b"0"
        return _Header(name, self._number(block[124:136]), self._number(block[100:108]), kind)

    def _extension(self, header: _Header) -> dict[str, str]:
        if header.size > _MAX_RECORDS_SIZE:
            raise self.unsafe(f"has an extension header of {header.size} bytes")
        data = self._exactly(header.size)
        self._skip(-header.size % BLOCK)
        if header.kind == b"L":
            return {"path": self._text(data)}
        if header.kind == b"K":
            return {}
        records = self._pax_records(data)
        if any(key.startswith(("GNU.sparse.", "SCHILY.realsize")) for key in records):
            raise self.unsafe("holds a sparse file")
        if header.kind == b"g":
            if {"path", "size", "linkpath"} & records.keys():
                raise self.unsafe("sets one path or size for all its files")
            return {}
        return {key: records[key] for key in ("path", "size") if key in records}

    def _pax_records(self, data: bytes) -> dict[str, str]:
        records: dict[str, str] = {}
        position = 0
        while position < len(data):
            digits, space, _ = data[position : position + 20].partition(b" ")
            if not space or not digits.isdigit():
                raise self.broken("has a damaged extension header")
            length = int(digits)
            record = data[position + len(digits) + 1 : position + length]
            key, equals, value = record.partition(b"=")
            # The length counts itself: one that would not move on leaves no record either.
            if not equals or not value.endswith(b"\n"):
                raise self.broken("has a damaged extension header")
            # Only what is read must be text: comments and foreign attributes may be anything.
            name = key.decode(errors="replace")
            records[name] = self._decoded(value[:-1]) if name in ("path", "size") else ""
            position += length
        return records

    def _member(self, header: _Header) -> None:
        match header.kind:
            case b"0" | b"7":
                self._file(header)
            case b"5":
                if header.size:
                    raise self.unsafe(f"gives the folder {header.name[:80]!r} a content")
                if folder := header.name.rstrip("/").removeprefix("./").strip("."):
                    checked_path(folder, code=self._writer.codes.unsafe)
            case b"2" if self._links is Links.SKIP:
                self._skip(header.size + -header.size % BLOCK)
                self._writer.note(f"the symbolic link {header.name[:120]} was left out")
            case _:
                what = _KINDS.get(header.kind, "an entry of an unknown kind")
                raise self.unsafe(f"holds {what}: {header.name[:80]!r}")

    def _file(self, header: _Header) -> None:
        padding = -header.size % BLOCK
        if self._wanted(header.name):
            self._writer.add(header.name, self._stream, header.size, executable=bool(header.mode & 0o100))
            self._skip(padding)
        else:
            checked_path(header.name, code=self._writer.codes.unsafe)
            self._skip(header.size + padding)

    def _number(self, field: bytes) -> int:
        if field[0] & 0x80:
            value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        else:
            digits = field.split(b"\0", 1)[0].strip()
            if digits and not all(0x30 <= digit < 0x38 for digit in digits):
                raise self.broken("is no tar, or is damaged (a header holds no number)")
            value = int(digits or b"0", 8)
        return self.checked_size(value)

    def checked_size(self, value: int) -> int:
        if value > _MAX_FILE_SIZE:
            raise self.unsafe("gives an entry an impossible size")
        return value

    def _text(self, field: bytes) -> str:
        return self._decoded(field.split(b"\0", 1)[0])

    def _decoded(self, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise self.unsafe("holds a name that is not UTF-8") from None

    def _exactly(self, size: int) -> bytes:
        parts = []
        left = size
        while left:
            part = self._stream.read(left)
            if not part:
                raise self.broken("is cut off")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while size:
            self._writer.deadline.check()
            size -= len(self._exactly(min(size, 64 * 1024)))

    def broken(self, what: str) -> Rejected:
        return Rejected(
            self._writer.codes.invalid,
            f"The archive {what}.",
            hint="Make the archive anew, for example with tar -czf bot.tar.gz -C FOLDER .",
        )

    def unsafe(self, what: str) -> Rejected:
        return Rejected(
            self._writer.codes.unsafe,
            f"The archive {what}.",
            hint="Put plain files and folders into the archive, and nothing else.",
        )


_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"D": "an incremental backup's folder",
    b"M": "a part of a file",
}


def _with(extension: dict[str, str], header: _Header, reader: _TarReader) -> _Header:
    if "path" in extension:
        header.name = extension["path"]
    if "size" in extension:
        digits = extension["size"]
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            raise reader.broken("has a damaged extension header")
        header.size = reader.checked_size(int(digits))
    return header
