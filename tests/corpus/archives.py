"""Hostile archives, most of them inside the request: what they hold counts, not how they come."""

import base64
import bz2
import lzma
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from tests.corpus.case import Case
from tests.corpus.tars import END, gzipped, header, member, pax, record, tar
from tests.corpus.zips import Entry, ordinary_zip, zip_of

MIB = 1024 * 1024
DOCKERFILE = member("Dockerfile", b"FROM scratch\n")
GOOD = tar(DOCKERFILE, member("bot.py", b"print(1)\n"))


def case(name: str, code: str | tuple[str, ...], make: Callable[[], bytes], **more: Any) -> Case:
    """A case whose archive is made when it is tried."""

    def params(_servers: Any) -> Mapping[str, Any]:
        return {"deployment_mode": "custom", "archive": base64.b64encode(make()).decode()}

    return Case(f"archive-{name}", params, code, **more)


def raw(name: str, code: str, archive: Any) -> Case:
    """A case whose parameter is given as it is."""
    return Case(f"archive-{name}", {"deployment_mode": "custom", "archive": archive}, code)


INLINE = {"deployment_mode": "custom", "archive": base64.b64encode(GOOD).decode()}
UNSAFE = "UNSAFE_ARCHIVE"
INVALID = "INVALID_ARCHIVE"
LARGE = "ARCHIVE_TOO_LARGE"

CASES = [
    # Names that lead elsewhere, or are read differently by different programs.
    case("traversal", UNSAFE, lambda: tar(DOCKERFILE, member("../x"))),
    case("traversal-inside", UNSAFE, lambda: tar(DOCKERFILE, member("a/../../x"))),
    case("traversal-folder", UNSAFE, lambda: tar(DOCKERFILE, header("../x/", kind=b"5"))),
    case("absolute", UNSAFE, lambda: tar(DOCKERFILE, member("/etc/passwd"))),
    case("drive-letter", UNSAFE, lambda: tar(DOCKERFILE, member("C:/x"))),
    case("backslashes", UNSAFE, lambda: tar(DOCKERFILE, member("..\\x"))),
    case("newline-in-name", UNSAFE, lambda: tar(DOCKERFILE, member("a\nb"))),
    case("name-not-utf8", UNSAFE, lambda: tar(DOCKERFILE, member(b"\xff\xfe"))),
    case("pax-renames-to-traversal", UNSAFE, lambda: tar(pax(record("path", "../x")), member("harmless"))),
    case("pax-renames-to-absolute", UNSAFE, lambda: tar(pax(record("path", "/x")), member("harmless"))),
    case("pax-name-with-nul", UNSAFE, lambda: tar(pax(record("path", "a\0b")), member("harmless"))),
    case("gnu-long-name-traversal", UNSAFE, lambda: tar(member("l", b"../x\0", b"L"), member("harmless"))),
    case("name-too-long", UNSAFE, lambda: tar(member("l", b"a" * 300, b"L"), member("x"))),
    case("path-too-long", UNSAFE, lambda: tar(member("l", b"a/" * 1000 + b"x", b"L"), member("x"))),
    case("pax-global-path", UNSAFE, lambda: tar(pax(record("path", "x"), b"g"), member("a"), member("b"))),
    case("twice", UNSAFE, lambda: tar(DOCKERFILE, member("a"), member("a"))),
    case("twice-by-case", UNSAFE, lambda: tar(DOCKERFILE, member("DOCKERFILE"))),
    case("twice-by-normal-form", UNSAFE, lambda: tar(DOCKERFILE, member("\u00e9"), member("e\u0301"))),
    case("twice-by-dots", UNSAFE, lambda: tar(DOCKERFILE, member("./a"), member("a"))),
    case("file-and-folder", UNSAFE, lambda: tar(DOCKERFILE, member("dup"), member("dup/x"))),
    case("folder-and-file", UNSAFE, lambda: tar(DOCKERFILE, member("dup/x"), member("dup"))),
    # What is neither a file nor a folder.
    case("symlink-out", UNSAFE, lambda: tar(DOCKERFILE, header("l", kind=b"2", link="/etc/passwd"))),
    case(
        "symlink-then-write",
        UNSAFE,
        lambda: tar(header("d", kind=b"2", link="/tmp"), member("d/x"), DOCKERFILE),
    ),
    case("symlink-inside", UNSAFE, lambda: tar(DOCKERFILE, header("l", kind=b"2", link="Dockerfile"))),
    case("hard-link", UNSAFE, lambda: tar(DOCKERFILE, header("l", kind=b"1", link="../../etc/shadow"))),
    case("device", UNSAFE, lambda: tar(DOCKERFILE, header("sda", kind=b"4"))),
    case("character-device", UNSAFE, lambda: tar(DOCKERFILE, header("null", kind=b"3"))),
    case("named-pipe", UNSAFE, lambda: tar(DOCKERFILE, header("pipe", kind=b"6"))),
    case("unknown-kind", UNSAFE, lambda: tar(DOCKERFILE, header("what", kind=b"Z"))),
    case("folder-with-content", UNSAFE, lambda: tar(DOCKERFILE, member("d", b"hidden", b"5"))),
    case("gnu-sparse-1-tb", UNSAFE, lambda: tar(DOCKERFILE, header("s", 1 << 40, b"S"))),
    case(
        "pax-sparse",
        UNSAFE,
        lambda: tar(pax(record("GNU.sparse.realsize", str(1 << 40))), member("s"), DOCKERFILE),
    ),
    # Bombs.
    case("pax-header-bomb", UNSAFE, lambda: gzipped([header("p", 200 * MIB, b"x"), *[bytes(MIB)] * 200])),
    case("long-name-bomb", UNSAFE, lambda: gzipped([header("l", 200 * MIB, b"L"), *[b"a" * MIB] * 200])),
    case("long-link-bomb", UNSAFE, lambda: gzipped([header("l", 200 * MIB, b"K"), *[b"a" * MIB] * 200])),
    case("global-header-bomb", UNSAFE, lambda: gzipped([header("g", 200 * MIB, b"g"), *[bytes(MIB)] * 200])),
    case("size-bomb", LARGE, lambda: gzipped([header("z", 200 * MIB), *[bytes(MIB)] * 200, END])),
    case("size-bomb-bzip2", LARGE, lambda: bz2.compress(header("z", 60 * MIB) + bytes(60 * MIB) + END)),
    case("size-bomb-xz", LARGE, lambda: lzma.compress(header("z", 60 * MIB) + bytes(60 * MIB) + END)),
    case(
        "ratio-bomb-in-padding",
        (LARGE, UNSAFE),
        lambda: gzipped([DOCKERFILE, END, *[bytes(MIB)] * 300]),
    ),
    case("count-bomb", LARGE, lambda: gzipped(member(f"f{number}", b"") for number in range(25_000))),
    case("header-count-bomb", LARGE, lambda: gzipped(header("d/", kind=b"5") for _ in range(120_000))),
    case("nested", "NO_DOCKERFILE", lambda: gzipped([tar(member("inner.tar.gz", gzipped([GOOD])))])),
    case("gzip-in-gzip", INVALID, lambda: gzipped([gzipped([GOOD])])),
    case("many-gzip-members", UNSAFE, lambda: gzipped([b""]) * 200_000),
    case("impossible-size", UNSAFE, lambda: tar(header("big", size_field=b"\x80" + b"\xff" * 11))),
    case("negative-size", UNSAFE, lambda: tar(header("big", size_field=b"\xff" * 12))),
    case("pax-size-lies", LARGE, lambda: tar(pax(record("size", str(1 << 35))), member("a"))),
    case("pax-size-nonsense", INVALID, lambda: tar(pax(record("size", "1e9")), member("a"))),
    case("pax-record-of-length-0", INVALID, lambda: tar(pax(b"0 a=b\n"), member("a"))),
    case("pax-record-without-length", INVALID, lambda: tar(pax(b"path=x\n"), member("a"))),
    case("xz-wants-4-gib", INVALID, lambda: _xz_with_dictionary(40)),
    # Damaged, cut off, or something else.
    case("cut-between-members", INVALID, lambda: tar(DOCKERFILE, end=b"")),
    case("cut-inside-a-member", INVALID, lambda: tar(DOCKERFILE, header("a", 2000), b"x" * 512, end=b"")),
    case("one-end-block", INVALID, lambda: tar(DOCKERFILE, end=bytes(512))),
    case("hidden-behind-the-end", UNSAFE, lambda: tar(DOCKERFILE) + member("hidden") + END),
    case("gzip-checksum", INVALID, lambda: gzipped([GOOD])[:-8] + bytes(8)),
    case("gzip-cut", INVALID, lambda: gzipped([GOOD])[:-4]),
    case("gzip-trailing-junk", INVALID, lambda: gzipped([GOOD]) + b"junk"),
    case("xz-cut", INVALID, lambda: lzma.compress(GOOD)[:-6]),
    case("bzip2-damaged", INVALID, lambda: _flipped(bz2.compress(GOOD))),
    case("header-checksum", INVALID, lambda: b"X" + GOOD[1:]),
    case("wrong-magic-zstd", INVALID, lambda: b"\x28\xb5\x2f\xfd" + bytes(600)),
    case("wrong-magic-html", INVALID, lambda: b"<html>" + b" " * 600),
    case("random-bytes", INVALID, lambda: bytes(range(1, 256)) * 8),
    case("no-files", INVALID, lambda: tar(header("d/", kind=b"5"))),
    case("empty", INVALID, lambda: b""),
    # Zips.
    case("zip-traversal", UNSAFE, lambda: zip_of(Entry("../x"))),
    case("zip-absolute", UNSAFE, lambda: zip_of(Entry("/x"))),
    case("zip-backslashes", UNSAFE, lambda: zip_of(Entry("..\\x"))),
    case("zip-nul-in-name", UNSAFE, lambda: zip_of(Entry("Dockerfile\0.txt"))),
    case("zip-symlink", UNSAFE, lambda: zip_of(Entry("l", b"/etc/passwd", mode=0o120777))),
    case("zip-device", UNSAFE, lambda: zip_of(Entry("d", mode=0o060644))),
    case("zip-twice", UNSAFE, lambda: zip_of(Entry("a"), Entry("A"))),
    case("zip-encrypted", INVALID, lambda: zip_of(Entry("a", flags=1))),
    case("zip-lzma", INVALID, lambda: ordinary_zip(zipfile.ZIP_LZMA)),
    case("zip-overlapping", UNSAFE, lambda: zip_of(Entry("a", b"x" * 100), Entry("b", offset=0))),
    case("zip-prefix", UNSAFE, lambda: b"PK\x03\x04junk" + zip_of(Entry("a"))),
    case("zip-behind-the-end", UNSAFE, lambda: zip_of(Entry("a")) + b"junk"),
    case("zip-without-directory", INVALID, lambda: zip_of(Entry("a"))[:40]),
    case("zip-checksum", INVALID, lambda: zip_of(Entry("a", crc=1))),
    case("zip-size-lies-small", INVALID, lambda: zip_of(Entry("a", b"x" * 5000, size=10))),
    case("zip-size-lies-big", INVALID, lambda: zip_of(Entry("a", b"x" * 10, size=5000))),
    case("zip-size-bomb", LARGE, lambda: zip_of(Entry("a", bytes(60 * MIB)))),
    case("zip-bomb-that-hides-its-size", INVALID, lambda: zip_of(Entry("a", bytes(60 * MIB), size=9))),
    case("zip-two-names", INVALID, lambda: zip_of(Entry("a", local_name="../a"))),
    case("zip-count-lies", UNSAFE, lambda: zip_of(Entry("a"), count=60_000)),
    # The parameter itself.
    raw("lax-base64", INVALID, base64.b64encode(GOOD).decode()[:-3] + "\n=!"),
    raw("base64-with-spaces", INVALID, base64.b64encode(GOOD).decode().replace("A", "A ", 1)),
    raw("base64-url-safe", INVALID, "_-" * 300),
    raw("not-text", "INVALID_FIELD", ["x"]),
    raw("no-ascii", INVALID, "\u0430" * 400),
    Case(
        "archive-too-long-to-decode",
        lambda _servers: {"deployment_mode": "custom", "archive": "A" * (45 * MIB)},
        LARGE,
    ),
    Case("archive-subdir-traversal", {**INLINE, "archive_subdir": "../x"}, "INVALID_PATH"),
    Case("archive-subdir-missing", {**INLINE, "archive_subdir": "nope"}, "INVALID_PATH"),
    Case("archive-entrypoint-traversal", {**INLINE, "entrypoint": "../x.py"}, "INVALID_ENTRYPOINT"),
    Case("archive-entrypoint-option", {**INLINE, "entrypoint": "-c.py"}, "INVALID_ENTRYPOINT"),
]  # fmt: skip


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 4
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def _xz_with_dictionary(bits: int) -> bytes:
    """An xz whose filter asks for a dictionary of 4 GiB; the checksum of its block header is right."""
    data = bytearray(lzma.compress(GOOD, check=lzma.CHECK_CRC32))
    size = (data[12] + 1) * 4
    block = data[12 : 12 + size]
    block[block.index(b"\x21\x01") + 2] = bits
    block[-4:] = zlib.crc32(bytes(block[:-4])).to_bytes(4, "little")
    data[12 : 12 + size] = block
    return bytes(data)
