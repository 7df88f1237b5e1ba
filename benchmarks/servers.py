"""A Git server and a registry on this machine, as the tests have them, which count what is asked of them."""

import gzip
import io
import os
import re
import tarfile
from collections.abc import Container
from pathlib import Path

from tests.corpus.git_repositories import Repository
from tests.corpus.git_server import serve_repositories
from tests.registry import Registry

from benchmarks.by_hand import MIB
from bot_runner_worker.testing.source_server import ALLOWED, Handler, Server

ADDRESSES_ALLOWED = f"{ALLOWED}/32"
"""For ``SOURCE_ADDRESSES_ALLOWED``: where these servers are."""

_BLOB = re.compile(r'"GET /v2/\S+/blobs/(sha256:[0-9a-f]{64})')
_MANIFEST = re.compile(r'"(GET|HEAD) /v2/\S+/manifests/')


class GitServer:
    """Git over smart HTTP.

    Args:
        folder: For the repositories.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.fetches = 0
        """Requests for the content of commits; questions for the refs are none."""
        self._server = Server(self._answer)

    @property
    def requests(self) -> int:
        """All requests."""
        return len(self._server.requests)

    def repository(self, name: str, files: dict[str, str]) -> str:
        """Make a repository with one commit; returns its address."""
        Repository(self._folder / name).commit_files(files)
        return self._server.url(f"/{name}")

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _answer(self, handler: Handler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        plain = gzip.decompress(body) if handler.headers.get("Content-Encoding") == "gzip" else body
        # Version 2 of the protocol names the command; before it, only a fetch posts anything.
        if handler.command == "POST" and b"command=ls-refs" not in plain:
            self.fetches += 1
        handler.rfile = io.BufferedReader(io.BytesIO(body))
        serve_repositories(handler, self._folder)


class CountingRegistry(Registry):
    """A registry that says what was asked of it.

    Args:
        folder: For its data and its log.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / "requests.log"
        super().__init__(folder, log=self._log)

    def layers(self, configurations: Container[str]) -> int:
        """Requests for layers, which is what a pull consists of.

        Args:
            configurations: Digests of images' configurations, which are their ids on the Engine: they are
                read when a digest is checked, to see what the image is made for.
        """
        return sum(digest not in configurations for digest in _BLOB.findall(self._log.read_text()))

    @property
    def manifests(self) -> int:
        """Requests for manifests: how a digest is checked."""
        return len(_MANIFEST.findall(self._log.read_text()))


class LargeArchive:
    """A server of one archive, with a Dockerfile and a large file.

    Args:
        folder: For the archive.
        base_image: That the Dockerfile names.
        size: Of the large file, in MiB.
    """

    def __init__(self, folder: Path, base_image: str, size: int) -> None:
        self._path = folder / "large.tar"
        self._write(f'FROM {base_image}\nCOPY data /data\nCMD ["sleep", "60"]\n', size)
        self._server = Server(self._send)
        self.url = self._server.url("/large.tar")

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def _write(self, dockerfile: str, size: int) -> None:
        with tarfile.open(self._path, "w") as archive:
            for name, content in {"Dockerfile": dockerfile.encode(), "data": os.urandom(MIB) * size}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    def _send(self, handler: Handler) -> None:
        handler.begin(Content_Length=str(self._path.stat().st_size))
        with self._path.open("rb") as content:
            while chunk := content.read(MIB):
                handler.wfile.write(chunk)
