"""A large build context passes through the worker without filling its memory."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from tests.conftest import BASE_IMAGE
from tests.corpus.servers import Handler, Server
from tests.plugins.probing import ALLOWED_GROWTH, CONTEXT_SIZE, MIB, growth_of_a_start

pytestmark = pytest.mark.slow

DOCKERFILE = f'FROM {BASE_IMAGE}\nCOPY data /data\nCMD ["sleep", "60"]\n'


async def test_a_context_of_200_mb_that_is_downloaded(tmp_path: Path) -> None:
    path = tmp_path / "large.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in {"Dockerfile": DOCKERFILE.encode(), "data": os.urandom(MIB)}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content) if name == "Dockerfile" else CONTEXT_SIZE
            archive.addfile(info, io.BytesIO(content * (CONTEXT_SIZE // MIB) if name == "data" else content))

    def send(handler: Handler) -> None:
        handler.begin(Content_Length=str(path.stat().st_size))
        with path.open("rb") as content:
            while chunk := content.read(MIB):
                handler.wfile.write(chunk)

    server = Server(send)
    try:
        grown = await growth_of_a_start(archive_url=server.url("/large.tar"))
    finally:
        server.close()
    print(f"200 MiB downloaded: the worker grew by {grown / MIB:.1f} MiB")
    assert grown < ALLOWED_GROWTH
