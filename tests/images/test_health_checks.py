"""The images' health checks go where the settings point, and say in one line what is wrong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from tests.images.docker_cli import REPOSITORY

from bot_runner_worker.settings import Settings


class Server(HTTPServer):
    """Answers each request with ``status`` and ``body``, and keeps the paths that were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body: object = {"ready": True, "reasons": []}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """The server's answers."""

    server: Server

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(self.server.body).encode())

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
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "docker" / f"{name}.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_worker_that_is_ready_and_one_that_says_why_it_is_not(server: Server) -> None:
    port = server.server_port

    for host in ("127.0.0.1", "0.0.0.0", "localhost"):
        assert check("worker_is_ready", HEALTH_ADDRESS=f"{host}:{port}") == (0, "")
    assert server.asked == ["/ready"] * 3

    server.status = 503
    server.body = {"ready": False, "reasons": ["engine: no answer", "it was told to stop"]}
    assert check("worker_is_ready", HEALTH_ADDRESS=f"127.0.0.1:{port}") == (
        1,
        "The worker is not ready: engine: no answer; it was told to stop",
    )


def test_the_worker_is_asked_where_it_listens_by_default() -> None:
    check_of_the_image = (REPOSITORY / "docker" / "worker_is_ready.py").read_text()

    assert f'DEFAULT = "{Settings.model_fields["health_address"].default}"' in check_of_the_image


def test_a_worker_that_listens_nowhere_is_not_asked() -> None:
    assert check("worker_is_ready", HEALTH_ADDRESS="off") == (0, "")


@pytest.mark.parametrize("body", [[], {}, "page"])
def test_something_else_than_a_worker_is_not_ready(server: Server, body: object) -> None:
    server.body = body
    code, words = check("worker_is_ready", HEALTH_ADDRESS=f"127.0.0.1:{server.server_port}")

    assert code == 1
    assert words.startswith("The worker does not answer: ")
    assert len(words.splitlines()) == 1


def test_an_orchestrator_at_another_port(server: Server) -> None:
    port = str(server.server_port)

    assert check("orchestrator_answers", API_PORT=port) == (0, "")
    assert check("orchestrator_answers", API_PORT=port, API_HOST="0.0.0.0") == (0, "")
    assert server.asked == ["/_public/status"] * 2
    server.status = 503
    assert check("orchestrator_answers", API_PORT=port) == (1, "The orchestrator answers with status 503")


def test_tls_is_spoken_where_it_is_set(server: Server) -> None:
    # This server speaks none: what matters is that the check tries.
    code, words = check("orchestrator_answers", API_PORT=str(server.server_port), TLS_ENABLED="true")
    assert (code, "SSL" in words) == (1, True)


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:1"])
def test_an_address_where_no_worker_is(address: str) -> None:
    code, words = check("worker_is_ready", HEALTH_ADDRESS=address)

    assert code == 1
    assert words.startswith("The worker does not answer: ")
    assert len(words.splitlines()) == 1
