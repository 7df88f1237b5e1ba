"""Health check of the worker's image: does the Docker Engine answer?

It reads DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH from the container's environment, as the worker
does. Of the standard library only: it runs every few seconds, and the worker's own client takes ten times as
long to load.
"""

import http.client
import os
import socket
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

TIME_LIMIT = 3.0
"""Seconds; below the limit that the image sets for the check, so that this one gets to say what is wrong."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=TIME_LIMIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connection(environment: Mapping[str, str]) -> http.client.HTTPConnection:
    """A connection to the Engine, not opened yet.

    Raises:
        OSError: If the certificates cannot be read.
        ValueError: If DOCKER_HOST is not an address.
    """
    address = urlsplit(environment.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    if address.scheme == "unix":
        return _UnixConnection(address.path)
    if address.scheme not in ("tcp", "http", "https") or not address.hostname:
        raise ValueError(f"DOCKER_HOST is {address.geturl()}: not unix://PATH or tcp://HOST:PORT")
    if environment.get("DOCKER_TLS_VERIFY") == "1":
        folder = Path(environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return http.client.HTTPSConnection(
            address.hostname, address.port, timeout=TIME_LIMIT, context=context
        )
    plain = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    return plain(address.hostname, address.port, timeout=TIME_LIMIT)


def main() -> str | None:
    """Ask the Engine; returns what is wrong, in one line."""
    try:
        engine = connection(os.environ)
        engine.request("GET", "/_ping")
        status = engine.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"The Docker Engine does not answer: {error}"
    return None if status == 200 else f"The Docker Engine answers with status {status}"


if __name__ == "__main__":
    sys.exit(main())
