"""A real Redis server of a test's own."""

import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot_runner_stack import ports
from bot_runner_stack.processes import ManagedProcess


class RedisServer(ManagedProcess):
    """A Redis server on a free port, which keeps what it is told on disk, as an operator's would.

    Args:
        folder: For its log and its data.
    """

    def __init__(self, folder: Path) -> None:
        self.port = ports.free_port("127.0.0.1")
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        options = ["--appendonly", "yes", "--save", ""]
        super().__init__("Redis", command + options, environment={}, log=folder / "redis.log", cwd=folder)

    @property
    def environment_of_clients(self) -> dict[str, str]:
        """The settings of an orchestrator that keeps its jobs here."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port)}

    async def answers(self) -> bool:
        """Whether it takes connections and has read its data."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as connection,
        ):
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """A running server, ended with the block."""
    server = RedisServer(folder)
    server.start()
    try:
        await server.wait_until(server.answers, seconds=20)
        yield server
    finally:
        await server.stop()
