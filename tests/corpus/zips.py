"""Zips made field by field, as no program would make them."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

DEFLATED = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry and what its headers claim about it; what is left out is true.

    Args:
        name: In the central directory.
        content: Its bytes.
        mode: Unix file type and permissions.
        method: Number of the compression method; the content is deflated in any case.
        flags: General purpose flags.
        crc: Checksum.
        size: Size before compression.
        offset: Where its local header is said to be.
        local_name: Name in the local header.
    """

    name: str
    content: bytes = b"x"
    mode: int = 0o100644
    method: int = DEFLATED
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    offset: int | None = None
    local_name: str | None = None


def zip_of(*entries: Entry, count: int | None = None) -> bytes:
    """A whole zip.

    Args:
        entries: In their order.
        count: The number of entries that its end claims.
    """
    body = b""
    directory = b""
    for entry in entries:
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(entry.content) + packer.flush()
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        size = len(entry.content) if entry.size is None else entry.size
        name = entry.name.encode()
        local_name = (entry.local_name or entry.name).encode()
        offset = len(body) if entry.offset is None else entry.offset
        common = (20, entry.flags | 0x800, entry.method, 0, 0x21, crc, len(packed), size)
        body += b"PK\x03\x04" + struct.pack("<5H3L2H", *common, len(local_name), 0) + local_name + packed
        directory += (
            b"PK\x01\x02"
            + struct.pack("<H", 3 << 8 | 20)
            + struct.pack("<5H3L5H2L", *common, len(name), 0, 0, 0, 0, entry.mode << 16, offset)
            + name
        )
    claimed = len(entries) if count is None else count
    end = struct.pack("<4H2LH", 0, 0, claimed, claimed, len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def ordinary_zip(method: int) -> bytes:
    """A zip of one file as the standard library makes it."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", method) as archive:
        archive.writestr("Dockerfile", "FROM scratch\n")
    return output.getvalue()
