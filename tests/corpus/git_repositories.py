"""Bare Git repositories for the servers, made without a checkout: trees may hold whatever is hostile."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}

FILE = "100644"
EXECUTABLE = "100755"
SYMLINK = "120000"
SUBMODULE = "160000"
FOLDER = "40000"


class Repository:
    """A bare repository.

    Args:
        path: Its folder; made new.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "--bare", "--template=", "--initial-branch=main", ".")
        self.git("config", "http.receivepack", "false")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git in it and return what it prints."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=_ENVIRONMENT, input=stdin, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def blob(self, content: str | bytes) -> str:
        """Store a file's content; returns its id."""
        data = content.encode() if isinstance(content, str) else content
        return self.git("hash-object", "-w", "--stdin", stdin=data)

    def tree(self, entries: Sequence[tuple[str, str, str]]) -> str:
        """Store a tree of (mode, name, id) as it is, whatever git thinks of the names; returns its id."""
        raw = b"".join(
            f"{mode} ".encode() + os.fsencode(name) + b"\0" + bytes.fromhex(oid)
            for mode, name, oid in entries
        )
        return self.git("hash-object", "-w", "--literally", "-t", "tree", "--stdin", stdin=raw)

    def tree_of(self, files: Mapping[str, str | bytes]) -> str:
        """Store files by path; returns the tree's id."""
        entries: list[tuple[str, str, str]] = []
        folders: dict[str, dict[str, str | bytes]] = {}
        for path, content in files.items():
            folder, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(folder, {})[rest] = content
            else:
                mode = EXECUTABLE if path.endswith(".sh") else FILE
                entries.append((mode, path, self.blob(content)))
        entries += [(FOLDER, name, self.tree_of(inside)) for name, inside in folders.items()]
        # Git sorts folders as if their names ended with a slash.
        return self.tree(sorted(entries, key=lambda each: each[1] + ("/" if each[0] == FOLDER else "")))

    def commit(self, tree: str, ref: str = "refs/heads/main") -> str:
        """Commit a tree to a ref, without parents; returns the commit's id."""
        commit = self.git("commit-tree", "-m", "test", tree)
        self.git("update-ref", ref, commit)
        return commit

    def commit_files(self, files: Mapping[str, str | bytes], ref: str = "refs/heads/main") -> str:
        """Commit files by path."""
        return self.commit(self.tree_of(files), ref)
