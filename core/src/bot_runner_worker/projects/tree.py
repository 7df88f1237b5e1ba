"""A project's files, in one unnamed temporary file: constant memory, nothing unpacked, nothing left."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import TracebackType
from typing import IO, Protocol, Self

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.paths import MAX_FILES, checked_path
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.projects.work import Deadline

_CHUNK = 256 * 1024
_IN_MEMORY = 1024 * 1024


class Readable(Protocol):
    """Anything to read bytes from; a read may return less than asked for, and nothing only at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class TreeCodes:
    """Error codes of the source that a tree comes from.

    Args:
        invalid: It is broken or cut off.
        unsafe: It holds what a project has no use for and an attack has: links out of it, devices, doubles.
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
    """The files of a project. Sub-trees share the spool: close the tree that they come from.

    Args:
        files: By path.
        notes: What was left out on the way, for the bot's author.
    """

    files: Mapping[str, ProjectFile]
    notes: tuple[str, ...]
    _spool: IO[bytes] = field(repr=False)

    def read(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of a file."""
        entry = self.files[path]
        self._spool.seek(entry.offset)
        return self._spool.read(min(entry.size, limit))

    def open(self, path: str) -> IO[bytes]:
        """A file's content as a stream; only one at a time may be read."""
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
        """The tree below its only top folder, as archives of whole folders have one; else the tree itself."""
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
    """Collects a tree; use it as a context manager, so that a failure leaves no file behind.

    Names are held to the rules of build contexts: relative, inside the tree, each once on any file system.

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
        self._max_size = max_size
        self._max_files = max_files
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="bot-runner-tree-")  # noqa: SIM115
        self._files: dict[str, ProjectFile] = {}
        self._keys: dict[str, bool] = {}
        """Casefolded paths; ``True`` for files, ``False`` for folders."""
        self._notes: list[str] = []
        self._total = 0
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._finished:
            self._spool.close()

    def add(self, path: str, source: Readable, size: int, *, executable: bool = False) -> None:
        """Copy a file's content.

        Args:
            path: Relative POSIX path, see :func:`~bot_runner_worker.plugin.checked_path`.
            source: Where ``size`` bytes are read from; fewer are an error.
            size: The file's size in bytes.
            executable: Whether it may be executed.

        Raises:
            Rejected: With one of the writer's codes.
        """
        name = checked_path(path, code=self.codes.unsafe)
        if len(self._files) >= self._max_files:
            raise self._too_large(f"has more than {self._max_files} files", {"limit_files": self._max_files})
        self._claim(name)
        self._total += size
        if self._total > self._max_size:
            raise self._too_large(
                f"is larger than {format_size(self._max_size)} in all", {"limit_bytes": self._max_size}
            )
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

    def _claim(self, name: str) -> None:
        key = name.casefold()
        parents = [str(parent) for parent in PurePosixPath(key).parents][:-1]
        if key in self._keys or any(self._keys.get(parent) for parent in parents):
            raise Rejected(
                self.codes.unsafe,
                f"The path {name!r} is there twice, or is a file and a folder at once.",
                hint="Give each file a path of its own; upper and lower case do not make a difference.",
                details={"path": name},
            )
        self._keys[key] = True
        for parent in parents:
            self._keys[parent] = False

    def _too_large(self, what: str, details: dict[str, int]) -> Rejected:
        return Rejected(
            self.codes.too_large,
            f"The project {what}.",
            hint="Leave out what the bot does not need, or ask the operator to raise MAX_CONTEXT_SIZE.",
            details=details,
        )

    def note(self, text: str) -> None:
        """Tell the bot's author something; each text once, and only the first few."""
        if text not in self._notes and len(self._notes) < 10:
            self._notes.append(text)

    def finish(self) -> ProjectTree:
        """The tree; close it when it has been used."""
        self._finished = True
        return ProjectTree(dict(self._files), tuple(self._notes), self._spool)
