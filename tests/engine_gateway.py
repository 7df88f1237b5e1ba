"""A way to the real Engine that a test can cut: the shared one must not be killed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.conftest import ENGINE


class EngineGateway:
    """A Unix socket before the Engine's own.

    Args:
        folder: Where the socket is made; a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "engine.sock"
        self.disguise = (b"", b"")
        """What is replaced in the Engine's answers, by something of the same length: its id, for instance."""
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """The value for DOCKER_HOST."""
        return f"unix://{self.path}"

    async def mend(self) -> None:
        """Let everything through, again."""
        if self._server is not None:
            return
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def cut(self) -> None:
        """End all connections and take no more, as when the Engine is killed."""
        if self._server is None:
            return
        self._server.close()
        self.path.unlink(missing_ok=True)
        for writer in tuple(self._connections):
            writer.transport.abort()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(ENGINE.removeprefix("unix://"))
        both = {writer, engine_writer}
        self._connections |= both
        try:
            await asyncio.gather(_copy(reader, engine_writer), _copy(engine_reader, writer, *self.disguise))
        finally:
            self._connections -= both
            for each in both:
                each.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, old: bytes = b"", new: bytes = b""
) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece.replace(old, new) if old else piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@asynccontextmanager
async def engine_gateway(folder: Path) -> AsyncIterator[EngineGateway]:
    """A gateway that lets everything through, until the test cuts it."""
    gateway = EngineGateway(folder)
    await gateway.mend()
    try:
        yield gateway
    finally:
        await gateway.cut()
