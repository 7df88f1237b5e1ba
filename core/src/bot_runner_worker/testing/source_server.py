"""Servers of code and of trouble: small, over HTTP, in threads of the test's process."""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ALLOWED = "127.0.0.1"
"""Where the servers listen: runners of the kit may dial this one address, although it is not public."""


class Server(ThreadingHTTPServer):
    """An HTTP server.

    Args:
        answer: Makes each answer.
        host: Address to listen on.
        port: Port to listen on; by default, a free one.
        tls: Its certificate, for HTTPS.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        answer: "Callable[[Handler], None]",
        host: str = ALLOWED,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__((host, port), Handler)
        self.answer = answer
        self.requests: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.scheme = "http"
        if tls is not None:
            self.scheme = "https"
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def url(self, path: str = "/", host: str = ALLOWED) -> str:
        """The address of a path on it."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are part of the game."""


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's own function."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 30

    def do_GET(self) -> None:
        """Any request."""
        self.server.requests.append(f"{self.command} {self.path}")
        self.server.headers.append(dict(self.headers.items()))
        self.close_connection = True
        self.server.answer(self)

    do_POST = do_GET  # noqa: N815
    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Not on the tests' output."""

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; underscores in the names of headers are dashes."""
        self.begin(status=status, Content_Length=str(len(body)), **headers)
        self.wfile.write(body)

    def begin(
        self, content_type: str = "application/octet-stream", *, status: int = 200, **headers: str
    ) -> None:
        """Send the head of an answer; without a length, the connection's end is its end."""
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def endless(handler: Handler, piece: bytes = b"\0" * 65536) -> None:
    """Write for a minute, as fast as the client takes it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        handler.wfile.write(piece)


def drip(handler: Handler) -> None:
    """Write ten bytes a second for a minute."""
    for _ in range(600):
        handler.wfile.write(b"x")
        time.sleep(0.1)


class SourceServer:
    """A server for code: files by name, and paths that misbehave.

    ``/files/NAME`` serves a file, ``/status/500`` that status, ``/redirect/URL`` redirects, ``/endless``
    never ends, ``/drip`` sends ten bytes a second, ``/silence`` accepts and says nothing.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    @cached_property
    def _server(self) -> Server:
        """It listens from its first use on: most cases need none."""
        return Server(self._answer)

    @property
    def requests(self) -> list[str]:
        """Methods and paths of all requests so far."""
        return self._server.requests

    def url(self, path: str) -> str:
        """The address of a path."""
        return self._server.url(path)

    def file(self, name: str, content: bytes) -> str:
        """Serve a file; returns its address."""
        self.files[name] = content
        return self.url(f"/files/{name}")

    def close(self) -> None:
        """Stop listening."""
        if "_server" in vars(self):
            self._server.close()

    def _answer(self, handler: Handler) -> None:
        parts = urlsplit(handler.path)
        kind, _, rest = parts.path.lstrip("/").partition("/")
        match kind:
            case "files" if rest in self.files:
                handler.reply(200, self.files[rest])
            case "status" if rest.isdigit():
                handler.reply(int(rest))
            case "redirect":
                handler.reply(302, Location=rest)
            case "endless":
                handler.begin()
                endless(handler)
            case "drip":
                handler.begin()
                drip(handler)
            case "silence":
                time.sleep(60)
            case _:
                handler.reply(404)
