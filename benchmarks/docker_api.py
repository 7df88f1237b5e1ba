"""A thin synchronous client of the Docker Engine's HTTP API, for the baselines: no library in between.

It shares no code with the runner, so a fault of the runner's own client cannot hide in both sides of a ratio.
"""

import http.client
import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

ADDRESS = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
TIMEOUT = 600.0
NANOSECONDS = 1_000_000_000
TAR = {"Content-Type": "application/x-tar"}


class DockerError(Exception):
    """The Engine answered with an error; its status is 0 inside a build's output."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message.strip()} (status {status})")
        self.status = status


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Docker:
    """The Engine. Each thread has a connection of its own, which it keeps, as any client library does."""

    def __init__(self, address: str = ADDRESS) -> None:
        self.address = address
        self._threads = threading.local()

    def call(self, method: str, path: str, /, body: Any = None, headers: Any = None, **query: Any) -> bytes:
        """Make a call and return the whole answer.

        Without the API's version in the path, the Engine takes its newest. A body of bytes is sent as it is,
        anything else as JSON, as are query parameters that are neither text nor number.
        """
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        target = f"{path}?{urlencode({name: _text(each) for name, each in query.items()})}" if query else path
        connection = self._connection()
        try:
            connection.request(method, target, content, {**kind, **(headers or {})})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if response.status >= 400:
            raise DockerError(response.status, answer.decode(errors="replace")[:500])
        return answer

    def json(self, method: str, path: str, /, body: Any = None, **query: Any) -> Any:
        """Make a call and return its JSON answer, ``None`` for an empty one."""
        answer = self.call(method, path, body, **query)
        return json.loads(answer) if answer else None

    def build(self, tag: str, files: Mapping[str, str]) -> None:
        """Build an image with the classic builder, as ``docker build`` does without BuildKit."""
        for line in self.call("POST", "/build", tar_of(files), TAR, t=tag, rm="1", forcerm="1").splitlines():
            if line.strip() and (error := json.loads(line).get("error")):
                raise DockerError(0, error)

    def create(self, config: Mapping[str, Any]) -> str:
        """Create a container and return its id."""
        return str(self.json("POST", "/containers/create", dict(config))["Id"])

    def start(self, container: str) -> None:
        """Start a container."""
        self.call("POST", f"/containers/{container}/start")

    def stop(self, container: str, seconds: int = 10) -> None:
        """Stop a container: SIGTERM, then SIGKILL."""
        self.call("POST", f"/containers/{container}/stop", t=seconds)

    def remove(self, thing: str, kind: str = "containers") -> None:
        """Remove something; what is gone is fine, and an image that is still in use stays."""
        query = {} if kind == "networks" else {"force": "1"}
        try:
            self.call("DELETE", f"/{kind}/{thing}", **query | ({"v": "1"} if kind == "containers" else {}))
        except DockerError as error:
            if error.status not in (404, 409):
                raise

    def events(self, since: float, until: float, **filters: list[str]) -> list[dict[str, Any]]:
        """The Engine's events of a time that has passed, of its last 256."""
        answer = self.call("GET", "/events", since=f"{since:.9f}", until=f"{until:.9f}", filters=filters)
        return [json.loads(line) for line in answer.splitlines() if line.strip()]

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if connection is None:
            parts = urlsplit(self.address)
            if parts.scheme == "unix":
                connection = _SocketConnection(parts.path)
            else:
                connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
            self._threads.connection = connection
        return connection


def tar_of(files: Mapping[str, str]) -> bytes:
    """A tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content := text.encode())
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) else json.dumps(value)
