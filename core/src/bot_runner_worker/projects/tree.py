"""Trees of project files, kept in one unnamed temporary file."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Protocol, Self

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.paths import MAX_FILES, FileManifest
from bot_runner_worker.projects.deadline import Deadline

_CHUNK = 256 * 1024
_IN_MEMORY = 1024 * 1024


class Readable(Protocol):
    """A stream of bytes; a read may return fewer than asked for, none only at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class TreeCodes:
    """Error codes for the source of a tree.

    Args:
        invalid: The source is damaged or cut off.
        unsafe: It holds what only an attack needs: links out of it, devices, a path twice.
        too_large: It is larger than the limits allow.
    """

    invalid: str = "INVALID_PROJECT"
    unsafe: str = Code.INVALID_PATH
    too_large: str = Code.CONTEXT_TOO_LARGE


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A file of a tree.

    Args:
        path: Relative POSIX path.
        offset: Where its content begins in the spool.
        size: Its size in bytes.
        executable: Whether it may be executed.
    """

    path: str
    offset: int
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class ProjectTree:
    """The files of a project.

    Its subtrees share its temporary file: only the tree that they come from is closed.

    Args:
        files: By path.
        notes: What was left out on the way, for the bot's author.
    """

    files: Mapping[str, ProjectFile]
    notes: tuple[str, ...]
    _spool: IO[bytes] = field(repr=False)

    def read(self, path: str, limit: int) -> bytes:
        """Read the first ``limit`` bytes of a file."""
        entry = self.files[path]
        self._spool.seek(entry.offset)
        return self._spool.read(min(entry.size, limit))

    def open(self, path: str) -> IO[bytes]:
        """Open a file; only one at a time may be read."""
        entry = self.files[path]
        self._spool.seek(entry.offset)
        return self._spool

    def folder(self, path: str) -> Self:
        """The tree below a folder; empty if there is no such folder."""
        prefix = f"{path}/"
        inside = {
            name.removeprefix(prefix): entry for name, entry in self.files.items() if name.startswith(prefix)
        }
        return type(self)(inside, self.notes, self._spool)

    def without_single_top_folder(self) -> Self:
        """The tree below its single top folder, or else the tree itself."""
        tops = {path.split("/", 1)[0] for path in self.files}
        if len(tops) != 1 or any("/" not in path for path in self.files):
            return self
        return self.folder(tops.pop())

    def with_note(self, note: str) -> Self:
        """The tree with one more note."""
        return type(self)(self.files, (*self.notes, note), self._spool)

    def keeping(self, paths: Iterator[str]) -> Self:
        """The tree with these files only."""
        return type(self)({path: self.files[path] for path in paths}, self.notes, self._spool)

    def close(self) -> None:
        """Delete the files."""
        self._spool.close()


class ProjectTreeWriter:
    """Writes a tree.

    Use it as a context manager, which deletes the files if the block fails.

    Args:
        max_size: Largest sum of file sizes in bytes.
        codes: Error codes of the source.
        deadline: Checked while content is copied.
        max_files: Largest number of files.
    """

    def __init__(
        self, *, max_size: int, codes: TreeCodes, deadline: Deadline, max_files: int = MAX_FILES
    ) -> None:
        self.codes = codes
        self.deadline = deadline
        self._manifest = FileManifest(max_size, max_files, path_code=codes.unsafe, size_code=codes.too_large)
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="bot-runner-tree-")  # noqa: SIM115
        self._files: dict[str, ProjectFile] = {}
        self._notes: list[str] = []
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._finished:
            self._spool.close()

    def add(self, path: str, source: Readable, size: int, *, executable: bool = False) -> None:
        """Add a file.

        Args:
            path: Relative POSIX path, see :func:`~bot_runner_worker.plugin.checked_path`.
            source: Where ``size`` bytes are read from; fewer are an error.
            size: The file's size in bytes.
            executable: Whether it may be executed.

        Raises:
            Rejected: With one of the writer's codes.
        """
        name = self._manifest.add(path, size)
        offset = self._spool.tell()
        self._copy(name, source, size)
        self._files[name] = ProjectFile(name, offset, size, executable)

    def _copy(self, name: str, source: Readable, size: int) -> None:
        left = size
        while left:
            self.deadline.check()
            chunk = source.read(min(left, _CHUNK))
            if not chunk:
                raise Rejected(
                    self.codes.invalid,
                    f"The file {name!r} is cut off: {left} of its {size} bytes are missing.",
                    hint="Make the source anew and send it again.",
                )
            self._spool.write(chunk)
            left -= len(chunk)

    def note(self, text: str) -> None:
        """Add a note for the bot's author; each text once, and only the first few."""
        if text not in self._notes and len(self._notes) < 10:
            self._notes.append(text)

    def finish(self) -> ProjectTree:
        """Return the tree, which the caller closes."""
        self._finished = True
        return ProjectTree(dict(self._files), tuple(self._notes), self._spool)
