"""Tars made block by block, as no program would make them."""

import gzip
import io
import tarfile
from collections.abc import Iterable, Mapping

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: str | bytes,
    size: int = 0,
    kind: bytes = b"0",
    *,
    link: str = "",
    mode: int = 0o644,
    magic: bytes = b"ustar\x0000",
    size_field: bytes | None = None,
) -> bytes:
    """One header block with a correct checksum."""
    raw = bytearray(BLOCK)
    raw[0:100] = (name.encode() if isinstance(name, str) else name)[:100].ljust(100, b"\0")
    raw[100:108] = f"{mode:07o}\0".encode()
    raw[108:116] = raw[116:124] = b"0000000\0"
    raw[124:136] = size_field or (
        f"{size:011o}\0".encode() if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    )
    raw[136:148] = b"00000000000\0"
    raw[156:157] = kind
    raw[157:257] = link.encode()[:100].ljust(100, b"\0")
    raw[257:265] = magic
    raw[148:156] = b" " * 8
    raw[148:156] = f"{sum(raw):06o}\0 ".encode()
    return bytes(raw)


def padded(content: bytes) -> bytes:
    """Content filled up to whole blocks."""
    return content + bytes(-len(content) % BLOCK)


def member(
    name: str | bytes, content: bytes = b"x", kind: bytes = b"0", *, link: str = "", mode: int = 0o644
) -> bytes:
    """A header and its content."""
    return header(name, len(content), kind, link=link, mode=mode) + padded(content)


def record(key: str, value: str | bytes) -> bytes:
    """One PAX record with its own length in front."""
    body = b" " + key.encode() + b"=" + (value.encode() if isinstance(value, str) else value) + b"\n"
    length = len(body) + len(str(len(body)))
    if len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    """An extension header with these records."""
    return member("././@PaxHeader", records, kind)


def tar(*parts: bytes, end: bytes = END) -> bytes:
    """A whole archive."""
    return b"".join(parts) + end


def tar_of(files: Mapping[str, str | bytes]) -> bytes:
    """An ordinary archive of files."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return output.getvalue()


def gzipped(parts: Iterable[bytes], level: int = 6) -> bytes:
    """Parts compressed one after the other, so that a bomb need not be held in memory."""
    output = io.BytesIO()
    with gzip.GzipFile(fileobj=output, mode="wb", compresslevel=level, mtime=0) as stream:
        for part in parts:
            stream.write(part)
    return output.getvalue()
