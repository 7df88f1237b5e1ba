"""Build contexts: a tar with a Dockerfile at a known path.

Code is never unpacked on the worker's disk. A context is written file by file into a normalised tar (owner
and times zeroed, modes 0644 or 0755), and named by a digest of its content that does not depend on the order
of the files.
"""

import hashlib
import io
import json
import posixpath
import re
import tarfile
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from types import TracebackType
from typing import IO, NamedTuple, Self

from bot_runner_worker.model.paths import MAX_FILES, FileManifest

_CHUNK = 256 * 1024
_IN_MEMORY = 1024 * 1024
_PEEKED = 4096
_GZIP = b"\x1f\x8b\x08"
# Whether a tar is in it is not looked at: bzip2, xz, Zstandard (moby, pkg/archive, DetectCompression).
_COMPRESSED = (b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


class Span(NamedTuple):
    """Offsets of a file in a tar: of its entry, its content, and the end of its entry."""

    begin: int
    content: int
    size: int
    end: int


@dataclass(frozen=True, slots=True)
class BuildContext:
    """A finished build context.

    Args:
        tar: File with the tar; deleted with :meth:`close`.
        size: Size of the tar in bytes.
        digest: Hex SHA-256 of the content, independent of order and times.
        dockerfile: Path of the Dockerfile inside the tar.
        spans: Where each file lies in the tar, by its path.
        shared: Whether tenants may share the image: only for Dockerfiles that a plugin generated itself, with
            nothing in the context that belongs to one tenant.
        generated: Whether we wrote the Dockerfile for a tenant's files
            (:mod:`bot_runner_worker.projects`): its base image and instructions need no vetting.
        notes: Notes on the context for the bot's author, shown in the result of the start.
    """

    tar: IO[bytes]
    size: int
    digest: str
    dockerfile: str
    spans: Mapping[str, Span]
    shared: bool = False
    notes: tuple[str, ...] = ()
    generated: bool = False

    def read_dockerfile(self, max_size: int) -> bytes:
        """Read the first ``max_size`` bytes of the Dockerfile."""
        return self._read(self.spans[self.dockerfile], max_size)

    def _read(self, span: Span, max_size: int) -> bytes:
        self.tar.seek(span.content)
        return self.tar.read(min(span.size, max_size))

    def find_archive(self, source: str) -> str | None:
        """Find a file that ``ADD`` would unpack.

        Args:
            source: A source of ``ADD``: a path, or a pattern as in Go's ``filepath.Match``.

        Returns:
            The path of the first such file that the source names itself; those in a folder that it names are
            never unpacked.
        """
        path = posixpath.normpath(f"/{source}").lstrip("/")
        if path in self.spans:
            return path if self._is_archive(path) else None
        pattern = [re.compile(translate(part.replace("[^", "[!"))) for part in path.split("/")]
        return next((each for each in self.spans if _matches(pattern, each) and self._is_archive(each)), None)

    def _is_archive(self, path: str) -> bool:
        begin = self._read(self.spans[path], _PEEKED)
        if begin.startswith(_COMPRESSED):
            return True
        if begin.startswith(_GZIP):
            try:
                begin = zlib.decompressobj(wbits=31).decompress(begin, tarfile.BLOCKSIZE)
            except zlib.error:
                return False
        try:
            tarfile.TarInfo.frombuf(begin[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return False
        return True

    async def chunks(self, dockerfile: bytes | None = None) -> AsyncIterator[bytes]:
        """Yield the tar in pieces.

        Args:
            dockerfile: Content that replaces the Dockerfile's own.
        """
        span = self.spans[self.dockerfile]
        if dockerfile is not None:
            async for chunk in self._part(0, span.begin):
                yield chunk
            yield _entry(self.dockerfile, dockerfile)
        async for chunk in self._part(0 if dockerfile is None else span.end, self.size):
            yield chunk

    async def no_files(self, dockerfile: bytes) -> AsyncIterator[bytes]:
        """Yield a tar of a Dockerfile alone, for instructions that copy nothing of the context."""
        yield _entry(self.dockerfile, dockerfile) + bytes(2 * tarfile.BLOCKSIZE)

    async def _part(self, position: int, end: int) -> AsyncIterator[bytes]:
        while position < end:
            self.tar.seek(position)
            chunk = self.tar.read(min(_CHUNK, end - position))
            position += len(chunk)
            yield chunk

    def close(self) -> None:
        """Delete the tar."""
        self.tar.close()


MAX_NOTES = 20
MAX_NOTE = 500


def bounded_notes(notes: Iterable[object]) -> list[str]:
    """The first notes for a bot's author, each cut to fit into a result."""
    # A plugin may have put anything there.
    texts = [note for note in notes if isinstance(note, str)]
    return [text[:MAX_NOTE] for text in texts[:MAX_NOTES]]


def notes_of(context: BuildContext | None) -> Sequence[object]:
    """A context's notes, whatever a plugin has put there."""
    notes: object = context.notes if context is not None else ()
    return notes if isinstance(notes, (tuple, list)) else ()


def _matches(pattern: Sequence[re.Pattern[str]], path: str) -> bool:
    parts = path.split("/")
    return len(parts) == len(pattern) and all(map(re.Pattern.match, pattern, parts))


def _entry(path: str, content: bytes) -> bytes:
    member = tarfile.TarInfo(path)
    member.size = len(content)
    member.mode = 0o644
    padding = -len(content) % tarfile.BLOCKSIZE
    return member.tobuf(tarfile.GNU_FORMAT) + content + bytes(padding)


@dataclass(slots=True)
class BuildContextWriter:
    """Writes a build context.

    Use it as a context manager, which deletes the file if the block fails.

    Args:
        max_size: Largest sum of file sizes in bytes.
        max_files: Largest number of files.
    """

    max_size: int
    max_files: int = MAX_FILES
    _spool: IO[bytes] = field(init=False)
    _tar: tarfile.TarFile = field(init=False)
    _entries: dict[str, tuple[str, int, str]] = field(init=False, default_factory=dict)
    _spans: dict[str, Span] = field(init=False, default_factory=dict)
    _manifest: FileManifest = field(init=False)
    _finished: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._manifest = FileManifest(self.max_size, self.max_files)
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="bot-runner-context-")  # noqa: SIM115
        # GNU format: Engines take a tar whose first entry has a PAX header for a plain Dockerfile.
        self._tar = tarfile.open(fileobj=self._spool, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._finished:
            self._spool.close()

    @property
    def paths(self) -> Iterable[str]:
        """Paths of the files added so far."""
        return [path for path, _, _ in self._entries.values()]

    def add(self, path: str, content: bytes | str, *, executable: bool = False) -> None:
        """Add a file from memory.

        Args:
            path: Relative POSIX path, see :func:`~bot_runner_worker.plugin.checked_path`.
            content: Its bytes, or text to be written as UTF-8.
            executable: Whether its mode is 0755 instead of 0644.

        Raises:
            Rejected: ``INVALID_PATH`` or ``CONTEXT_TOO_LARGE``.
        """
        data = content.encode() if isinstance(content, str) else content
        self.add_stream(path, io.BytesIO(data), len(data), executable=executable)

    def add_stream(self, path: str, source: IO[bytes], size: int, *, executable: bool = False) -> None:
        """Add a file from a stream.

        Args:
            path: Relative POSIX path, see :func:`~bot_runner_worker.plugin.checked_path`.
            source: Where exactly ``size`` bytes can be read.
            size: The file's size in bytes.
            executable: Whether its mode is 0755 instead of 0644.

        Raises:
            Rejected: ``INVALID_PATH`` or ``CONTEXT_TOO_LARGE``.
        """
        name = self._manifest.add(path, size)
        member = tarfile.TarInfo(name)
        member.size = size
        member.mode = 0o755 if executable else 0o644
        hashing = _HashingReader(source)
        begin = self._spool.tell()
        self._tar.addfile(member, hashing)
        end = self._spool.tell()
        content = end - size - (-size % tarfile.BLOCKSIZE)
        self._spans[name] = Span(begin, content, size, end)
        self._entries[name.casefold()] = (name, member.mode, hashing.hexdigest())

    def finish(
        self,
        dockerfile: str = "Dockerfile",
        *,
        shared: bool = False,
        generated: bool = False,
        notes: Iterable[str] = (),
    ) -> BuildContext:
        """Close the tar; see :class:`BuildContext` for the arguments.

        Raises:
            ValueError: If there is no file at ``dockerfile``.
        """
        if dockerfile.casefold() not in self._entries:
            raise ValueError(f"the build context holds no {dockerfile}")
        name, _, _ = self._entries[dockerfile.casefold()]
        self._tar.close()
        self._finished = True
        listing = json.dumps([dockerfile, sorted(self._entries.values())], ensure_ascii=True)
        return BuildContext(
            tar=self._spool,
            size=self._spool.tell(),
            digest=hashlib.sha256(listing.encode()).hexdigest(),
            dockerfile=name,
            spans=self._spans,
            shared=shared,
            generated=generated,
            notes=tuple(notes),
        )


class _HashingReader(io.RawIOBase):
    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
