"""Streaming decompression of untrusted data: bounded output, bounded memory, checksums required."""

import bz2
import io
import lzma
import zlib
from typing import IO, TYPE_CHECKING, Protocol

from bot_runner_custom_archive.errors import ARCHIVE_TOO_LARGE, broken, unsafe
from bot_runner_worker.plugin import Rejected
from bot_runner_worker.projects import Deadline

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 64 * 1024
_XZ_MEMORY = 80 * 1024 * 1024
"""What ``xz -9`` asks for; the header of a hostile one may ask for 4 GiB."""
_MAX_MEMBERS = 10_000
"""bgzip writes one for each 64 kB."""
_RATIO = 200
_RATIO_FREE = 16 * 1024 * 1024
"""Output below which the ratio does not count: a small text may well shrink a thousandfold."""


class _Member(Protocol):
    """One compressed stream: the interface of ``bz2.BZ2Decompressor``."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Gzip:
    """``zlib`` with the interface of the others; it checks the checksum and length at the end itself."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _new_member(kind: str) -> _Member:
    match kind:
        case "gzip":
            return _Gzip()
        case "bzip2":
            return bz2.BZ2Decompressor()
        case _:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


class Decompressed(io.RawIOBase):
    """The content of a compressed stream.

    Args:
        source: The compressed data, from its start.
        kind: ``gzip``, ``bzip2`` or ``xz``.
        max_size: Most bytes that may come out.
        deadline: Checked with each piece.

    Reading raises ``Rejected``: ``INVALID_ARCHIVE`` if the data is damaged or cut off, ``ARCHIVE_TOO_LARGE``
    if it is larger, or grows further, than a project does.
    """

    def __init__(self, source: IO[bytes], kind: str, *, max_size: int, deadline: Deadline) -> None:
        self._source = source
        self._kind = kind
        self._max_size = max_size
        self._deadline = deadline
        self._member = _new_member(kind)
        self._members = 1
        self._taken = 0
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill a part of the buffer; 0 at the end, which is reached only if the checksums are right."""
        target = memoryview(buffer).cast("B")
        while True:
            self._deadline.check()
            if self._member.eof and not self._next_member():
                return 0
            if piece := self._decompress(min(len(target), _CHUNK)):
                self._count(len(piece))
                target[: len(piece)] = piece
                return len(piece)

    def _decompress(self, wanted: int) -> bytes:
        data = b""
        if self._member.needs_input:
            data = self._source.read(_CHUNK)
            self._taken += len(data)
            if not data:
                raise broken("is cut off")
        try:
            return self._member.decompress(data, wanted)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise broken(f"is damaged ({str(error)[:120]})") from None

    def _next_member(self) -> bool:
        # gzip, bzip2 and xz files may be put one behind the other; padding with zeros is usual on tapes.
        rest = self._member.unused_data.lstrip(b"\0")
        while not rest:
            data = self._source.read(_CHUNK)
            if not data:
                return False
            self._taken += len(data)
            rest = data.lstrip(b"\0")
            self._deadline.check()
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise unsafe(f"consists of more than {_MAX_MEMBERS} compressed streams")
        self._source.seek(-len(rest), io.SEEK_CUR)
        self._taken -= len(rest)
        self._member = _new_member(self._kind)
        return True

    def _count(self, given: int) -> None:
        self._given += given
        too_far = self._given > _RATIO_FREE and self._given > _RATIO * max(self._taken, 1)
        if self._given > self._max_size or too_far:
            raise Rejected(
                ARCHIVE_TOO_LARGE,
                "The archive grows beyond all measure when it is unpacked."
                if too_far
                else "The archive is too large when it is unpacked.",
                hint="Leave out what the bot does not need, or ask the operator to raise MAX_CONTEXT_SIZE.",
                details={"limit_bytes": self._max_size},
            )
