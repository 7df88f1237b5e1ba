"""A remote repository: which commit a name stands for, and that commit's files. Blocking; run in a thread.

The commit is fetched bare and shallow, and read through ``git archive``: nothing is ever checked out, so that
no hook, filter, attribute or submodule of the tree takes effect.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from git import Git

from bot_runner_git.environment import local_environment
from bot_runner_git.errors import (
    CODES,
    GIT_FAILED,
    GIT_FOLDER_NOT_FOUND,
    GIT_REF_NOT_FOUND,
    GIT_SUBMODULES_UNSUPPORTED,
    too_large,
)
from bot_runner_git.folders import RepositoryFolder, sweep_once
from bot_runner_git.location import GitLocation
from bot_runner_git.process import OLDEST_GIT, GitProcess
from bot_runner_worker.plugin import Rejected, Unavailable, checked_path, format_size
from bot_runner_worker.projects import Deadline, Links, ProjectTree, ProjectTreeWriter, read_tar

_MAX_LISTING = 1024 * 1024
_MAX_TREE_LISTING = 16 * 1024 * 1024
_WATCH_INTERVAL = 0.5
# Attributes of the tree would leave files out of the archive, or change them; these win over them.
_NO_ATTRIBUTES = "* -export-ignore -export-subst -text -ident -filter !eol !working-tree-encoding\n"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Revision:
    """What a name stands for.

    Args:
        tip: The object to fetch: a commit, or an annotated tag.
        commit: The commit.
    """

    tip: str
    commit: str


class RemoteRepository:
    """A bare repository in a temporary folder, for one remote one; use it as a context manager.

    Args:
        url: The remote's address, without credentials.
        deadline: Of all that is done with it.
        max_size: Largest pack in bytes.
    """

    def __init__(self, url: str, *, deadline: Deadline, max_size: int) -> None:
        self._url = url
        self._deadline = deadline
        self._max_size = max_size
        self._folder = RepositoryFolder()
        self.folder = self._folder.path
        self.fetched = 0
        """Bytes on disk so far."""
        self._watched = 0.0

    def close(self) -> None:
        """Delete the folder."""
        self._folder.close()

    def __enter__(self) -> "RemoteRepository":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _git(self, *arguments: str, environment: Mapping[str, str] | None = None) -> GitProcess:
        return GitProcess(
            self.folder,
            arguments,
            environment=environment or local_environment(self.folder),
            max_file_size=self._max_size,
            deadline=self._deadline,
            watch=self._watch,
        )

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._watched < _WATCH_INTERVAL:
            return
        self._watched = now
        self.fetched = self._size()
        if self.fetched > self._max_size:
            raise too_large(format_size(self._max_size))

    def _size(self) -> int:
        size = 0
        for path in self.folder.rglob("pack/*"):
            # Git renames its files when they are whole.
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def revision(self, location: GitLocation, environment: Mapping[str, str]) -> Revision:
        """Ask the remote what ``git_branch`` stands for; this also proves that the request may read it.

        Raises:
            Rejected: ``GIT_REF_NOT_FOUND``, ``GIT_ACCESS_DENIED``, ``GIT_REPOSITORY_NOT_FOUND`` …
            Unavailable: If the network or the server fails.
        """
        _check_version()
        sweep_once()
        name = location.git_branch
        if name is None or location.commit:
            candidates = ["HEAD"]
        else:
            candidates = [f"refs/heads/{name}", f"refs/tags/{name}^{{}}", f"refs/tags/{name}"]
        with self._git("ls-remote", "-q", "--", self._url, *candidates, environment=environment) as process:
            lines = process.all_output(_MAX_LISTING).splitlines()
        if location.commit:
            return Revision(location.commit, location.commit)
        # The server matches the end of names only: "x/refs/heads/main" would also be listed.
        found = {ref: oid for oid, _, ref in (line.partition("\t") for line in lines)}
        for candidate in candidates:
            if commit := found.get(candidate):
                return Revision(found.get(candidate.removesuffix("^{}"), commit), commit)
        raise Rejected(
            GIT_REF_NOT_FOUND,
            "The repository is empty, or there is none at this address."
            if name is None
            else "The repository has no such branch or tag.",
            hint="Check git_branch; without it, the default branch is taken.",
        )

    def tree(
        self, revision: Revision, folder: str | None, environment: Mapping[str, str], max_size: int
    ) -> ProjectTree:
        """Fetch a commit and read its files.

        Args:
            revision: What to fetch.
            folder: The folder of the project inside the repository, if it is not the whole.
            environment: With the credentials and the checked addresses.
            max_size: Largest sum of file sizes in bytes.

        Raises:
            Rejected: ``GIT_TOO_LARGE``, ``GIT_FOLDER_NOT_FOUND``, ``GIT_SUBMODULES_UNSUPPORTED``,
                ``UNSAFE_REPOSITORY`` …
            Unavailable: If the network or the server fails.
        """
        self._fetch(revision, environment)
        root = self._tree_id(revision.commit, folder)
        self._refuse_submodules(root)
        (self.folder / "info").mkdir(exist_ok=True)
        (self.folder / "info" / "attributes").write_text(_NO_ATTRIBUTES)
        with (
            ProjectTreeWriter(max_size=max_size, codes=CODES, deadline=self._deadline) as writer,
            self._git("archive", "--format=tar", root) as archive,
        ):
            try:
                read_tar(archive, writer, links=Links.SKIP)
            except Rejected as error:
                if error.code == CODES.invalid:
                    # The archive ends early because git failed: its own words say more.
                    archive.finish()
                raise
            archive.finish()
            return _with_notes(writer)

    def _fetch(self, revision: Revision, environment: Mapping[str, str]) -> None:
        self._run("init", "-q", "--bare", "--template=", ".")
        try:
            self._run(
                "fetch", "-q", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
                "--", self._url, revision.tip, environment=environment,
            )  # fmt: skip
        except (Rejected, Unavailable):
            # Git's helper dies when its file reaches the limit, and git only says that it is gone.
            if self._size() >= self._max_size:
                raise too_large(format_size(self._max_size)) from None
            raise

    def _run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        with self._git(*arguments, environment=environment) as process:
            process.finish()

    def _tree_id(self, commit: str, folder: str | None) -> str:
        root = self._id_of(f"{commit}^{{tree}}")
        if folder is None:
            return root
        try:
            # A link or a submodule of that name is no tree: neither is followed.
            return self._id_of(self._id_of(f"{root}:{checked_path(folder)}") + "^{tree}")
        except Rejected as error:
            if error.code != GIT_FAILED:
                raise
            raise Rejected(
                GIT_FOLDER_NOT_FOUND,
                f"The commit has no folder {folder!r}.",
                hint="Check git_subdir; links and submodules are not followed.",
            ) from error

    def _id_of(self, name: str) -> str:
        with self._git("rev-parse", "--verify", "-q", "--end-of-options", name) as process:
            return process.all_output(_MAX_LISTING).strip()

    def _refuse_submodules(self, tree: str) -> None:
        with self._git("ls-tree", "-r", "-z", tree) as process:
            entries = process.all_output(_MAX_TREE_LISTING).split("\0")
        paths = [entry.partition("\t")[2] for entry in entries if entry.startswith("160000 ")]
        if paths:
            raise Rejected(
                GIT_SUBMODULES_UNSUPPORTED,
                f"The repository holds submodules, which are not fetched: {', '.join(paths[:5])[:300]}.",
                hint="Put their files into the repository, or name a folder without them in git_subdir.",
                details={"submodules": paths[:20]},
            )


def _check_version() -> None:
    if tuple(Git().version_info) < OLDEST_GIT:
        raise Unavailable(
            GIT_FAILED,
            "Git on the worker is too old.",
            hint="This is for the operator: install git 2.37 or later.",
        )


def _with_notes(writer: ProjectTreeWriter) -> ProjectTree:
    tree = writer.finish()
    pointers = [
        path
        for path, entry in tree.files.items()
        if entry.size <= _LFS_POINTER_SIZE and tree.read(path, len(_LFS_POINTER)) == _LFS_POINTER
    ]
    if not pointers:
        return tree
    shown = ", ".join(sorted(pointers)[:5])[:200]
    note = f"files in Git LFS are not fetched, their pointers are used as they are: {shown}"
    return tree.with_note(note)
