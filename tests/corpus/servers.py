"""Servers of the corpus, all on this machine's loopback: a marker that must stay untouched, Git over smart
HTTP with and without a password, files over HTTP and HTTPS, and servers that misbehave.
"""

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.corpus.certificates import Authority
from tests.corpus.git_repositories import Repository
from tests.corpus.git_server import (
    GIT_PASSWORD,
    GIT_TOKEN,
    GIT_USER,
    is_authorized,
    misbehave,
    serve_repositories,
)

from bot_runner_worker.testing.source_server import ALLOWED, Handler, Server, drip, endless

__all__ = ["ALLOWED", "FORBIDDEN", "GIT_PASSWORD", "GIT_TOKEN", "GIT_USER", "Handler", "Server", "Servers"]

FORBIDDEN = "127.0.0.2"
"""The same machine by an address that the settings do not open: only the marker is there."""


class Servers:
    """All servers; close them at the end.

    Args:
        folder: For repositories and certificates.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.files: dict[str, bytes] = {}
        self.http = Server(self._answer)
        self.https = Server(self._answer, tls=self.authority.server_context())
        (folder / "untrusted").mkdir()
        self.untrusted = Server(self._answer, tls=Authority(folder / "untrusted").server_context())
        self.git = Server(lambda handler: serve_repositories(handler, folder / "git"))
        self.marker = Server(_mark, host="0.0.0.0")
        # Behind a name whose address changes between two lookups, the port stays the same.
        self._twins = [Server(_mark, FORBIDDEN, each.port) for each in (self.http, self.git)]

    def close(self) -> None:
        """Stop listening."""
        for server in (self.marker, *self._twins, self.http, self.https, self.untrusted, self.git):
            server.close()

    def file(self, name: str, content: bytes, *, secure: bool = False) -> str:
        """Serve a file; returns its address."""
        self.files[name] = content
        return (self.https if secure else self.http).url(f"/files/{name}")

    def repository(self, name: str) -> Repository:
        """Make a repository below ``/`` of the Git server; those in ``private/`` want a password."""
        return Repository(self.folder / "git" / name)

    def redirect(self, target: str, status: int = 302) -> str:
        """An address that redirects to another."""
        return self.http.url(f"/redirect/{status}?to={target}")

    def marked(self) -> list[str]:
        """Requests that reached the marker, by any of its addresses."""
        return [request for server in (self.marker, *self._twins) for request in server.requests]

    @property
    def forbidden(self) -> str:
        """An address of the marker that the settings do not open."""
        return self.marker.url("/forbidden.tar.gz", host=FORBIDDEN)

    def _answer(self, handler: Handler) -> None:
        """The path says how to answer; the rest of it names a file, a status or a way to misbehave."""
        parts = urlsplit(handler.path)
        kind, _, rest = parts.path.lstrip("/").partition("/")
        content = self.files.get(rest, b"")
        match kind:
            case "files" if rest in self.files:
                handler.reply(200, content)
            case "private" if rest in self.files:
                if is_authorized(handler):
                    handler.reply(200, content)
                else:
                    handler.reply(401, WWW_Authenticate='Basic realm="files"')
            case "redirect":
                handler.reply(int(rest), Location=parse_qs(parts.query)["to"][0])
            case "loop":
                handler.reply(302, Location=handler.path)
            case "status":
                handler.reply(int(rest), b"no")
            case "no-length":
                handler.begin()
                handler.wfile.write(content)
            case "encoded":
                handler.begin(Content_Encoding="gzip")
                handler.wfile.write(content)
            case "cut":
                handler.begin(Content_Length=str(len(content) * 2 + 1))
                handler.wfile.write(content)
            case "endless":
                handler.begin()
                endless(handler)
            case "drip":
                handler.begin()
                drip(handler)
            case "huge-length":
                handler.begin(Content_Length=str(1 << 40))
                endless(handler)
            case "silent":
                time.sleep(30)
            case "endless-headers":
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
                endless(handler, b"X-Filler: " + b"x" * 1000 + b"\r\n")
            case "garbage":
                handler.wfile.write(b"\0\1\2 this is not HTTP\r\n\r\n")
            case "git":
                misbehave(handler, rest.partition("/")[0], self.marker.url(handler.path, host=FORBIDDEN))
            case _:
                handler.reply(404, b"not found")


def _mark(handler: Handler) -> None:
    handler.reply(200, b"marker")
