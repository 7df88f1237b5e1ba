"""The images' health checks go where the settings point, and say in one line what is wrong."""

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from tests.images.docker_cli import REPOSITORY


class Server(HTTPServer):
    """Answers each request with ``status``, and keeps the paths that were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """The server's answers."""

    server: Server

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that runs."""
    with Server() as running:
        thread = Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def check(name: str, **environment: str) -> tuple[int, str]:
    """Exit code and words of a check, run as the image runs it."""
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "docker" / f"{name}_answers.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_an_engine_at_a_tcp_address(server: Server) -> None:
    address = f"tcp://127.0.0.1:{server.server_port}"

    assert check("engine", DOCKER_HOST=address) == (0, "")
    assert server.asked == ["/_ping"]
    server.status = 500
    assert check("engine", DOCKER_HOST=address) == (1, "The Docker Engine answers with status 500")


def test_an_orchestrator_at_another_port(server: Server) -> None:
    port = str(server.server_port)

    assert check("orchestrator", API_PORT=port) == (0, "")
    assert check("orchestrator", API_PORT=port, API_HOST="0.0.0.0") == (0, "")
    assert server.asked == ["/_public/status"] * 2
    server.status = 503
    assert check("orchestrator", API_PORT=port) == (1, "The orchestrator answers with status 503")


def test_tls_is_spoken_where_it_is_set(server: Server) -> None:
    # This server speaks none: what matters is that the check tries.
    code, words = check("orchestrator", API_PORT=str(server.server_port), TLS_ENABLED="true")
    assert (code, "SSL" in words) == (1, True)

    address = f"tcp://127.0.0.1:{server.server_port}"
    code, words = check("engine", DOCKER_HOST=address, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH="/nowhere")
    assert (code, words) == (1, "The Docker Engine does not answer: [Errno 2] No such file or directory")


@pytest.mark.parametrize("address", ["docker.sock", "ssh://host", "tcp://", "tcp://host:port"])
def test_an_address_that_is_none(address: str) -> None:
    code, words = check("engine", DOCKER_HOST=address)

    assert code == 1
    assert words.startswith("The Docker Engine does not answer: ")
    assert len(words.splitlines()) == 1
