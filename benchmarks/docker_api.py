"""A thin synchronous client of the Docker Engine's HTTP API, for the baselines: no library in between.

It shares no code with the runner, so a fault of the runner's own client cannot hide in both sides of a ratio.
"""

import http.client
import json
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.corpus.tars import tar_of

ADDRESS = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
TIMEOUT = 600.0
NANOSECONDS = 1_000_000_000


class DockerError(Exception):
    """The Engine answered with an error; its status is 0 inside a build's output."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message.strip()} (status {status})")
        self.status = status


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(ADDRESS.removeprefix("unix://"))


class Docker:
    """The Engine. Each thread has a connection of its own, which it keeps, as any client library does."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def call(self, method: str, path: str, /, body: Any = None, **query: Any) -> bytes:
        """Make a call and return the whole answer.

        Without the API's version in the path, the Engine takes its newest. A body of bytes is a tar, anything
        else is sent as JSON, as are query parameters that are neither text nor number.
        """
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        target = f"{path}?{urlencode({name: _text(each) for name, each in query.items()})}" if query else path
        if not hasattr(self._threads, "connection"):
            self._threads.connection = _Connection("docker", timeout=TIMEOUT)
        connection: http.client.HTTPConnection = self._threads.connection
        try:
            connection.request(method, target, content, {"Content-Type": kind})
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
        for line in self.call("POST", "/build", tar_of(files), t=tag, rm="1", forcerm="1").splitlines():
            if line.strip() and (error := json.loads(line).get("error")):
                raise DockerError(0, error)

    def create(self, config: Mapping[str, Any]) -> str:
        """Create a container and return its id."""
        return str(self.json("POST", "/containers/create", dict(config))["Id"])

    def start(self, container: str) -> None:
        """Start a container."""
        self.call("POST", f"/containers/{container}/start")

    def stop(self, container: str) -> None:
        """Stop a container: SIGTERM, then SIGKILL."""
        self.call("POST", f"/containers/{container}/stop", t=10)

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


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) else json.dumps(value)
