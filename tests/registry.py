"""A real container registry (Debian's docker-registry) for tests, with images made for it on the spot."""

import base64
import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import until_sync

USERNAME = "reader"
PASSWORD = "sentinel-registry-password"

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONFIG = """\
version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: "{folder}/data"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_AUTH = 'auth: {{htpasswd: {{realm: test, path: "{folder}/htpasswd"}}}}\n'


class Registry:
    """A registry on this machine's loopback, which the Engine takes for one without TLS.

    Args:
        folder: Its data; two registries may share it.
        private: Whether it wants :data:`USERNAME` and :data:`PASSWORD`.
        log: File for a line about each request.
    """

    def __init__(self, folder: Path, *, private: bool = False, log: Path | None = None) -> None:
        self.private = private
        if private:
            words = ["htpasswd", "-Bbc", str(folder / "htpasswd"), USERNAME, PASSWORD]
            subprocess.run(words, check=True, capture_output=True)
        config = folder / ("private.yml" if private else "open.yml")
        config.write_text((_CONFIG + (_AUTH if private else "")).format(folder=folder))
        said = config.with_suffix(".log")
        with open(log or os.devnull, "wb") as output, said.open("wb") as errors:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdout=output, stderr=errors
            )
        listening = re.compile(r"listening on (127\.0\.0\.1:\d+)")
        self.host = until_sync(lambda: listening.search(said.read_text()), 20, said.read_text)[1]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(10)

    async def push(
        self, engine: Engine, name: str, dockerfile: str, files: Mapping[str, bytes] | None = None
    ) -> str:
        """Build an image, push it here and remove it from the Engine; returns its reference."""
        reference = f"{self.host}/{name}"
        # An image of its own: one with another test's tag would go with all tags when that test tidies up.
        await build(engine, reference, f"{dockerfile}\nLABEL pushed-as={reference}\n", files or {})
        try:
            repository, _, tag = reference.rpartition(":")
            auth = {"username": USERNAME, "password": PASSWORD, "serveraddress": self.host}
            header = base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()
            await lines(
                engine, f"images/{repository}/push", {"tag": tag}, headers={"X-Registry-Auth": header}
            )
        finally:
            await engine.json("DELETE", f"images/{reference}")
        return reference

    def put_image(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
        architecture: str | None = None,
        **manifest: Any,
    ) -> str:
        """Write an image into the registry by its HTTP API, past any Engine; returns its reference.

        Args:
            name: Repository and tag.
            config: Its ``config``: ``Labels``, ``OnBuild``, ``Cmd``, ``Volumes`` …
            files: Content of its only layer.
            architecture: By default, this machine's.
            manifest: Replaces fields of the manifest.
        """
        assert not self.private, "write into the open registry that shares its folder"
        repository, _, tag = name.rpartition(":")
        base = f"http://{self.host}/v2/{repository}"
        layer = tar_of(files or {"empty": b""})
        compressed = gzip.compress(layer, 1, mtime=0)
        description = {
            "architecture": architecture or _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        _put_blob(base, compressed)
        content = json.dumps(description).encode()
        _put_blob(base, content)
        full = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(content, "application/vnd.docker.container.image.v1+json"),
            "layers": [_descriptor(compressed, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
            **manifest,
        }
        _send("PUT", f"{base}/manifests/{tag}", json.dumps(full).encode(), str(full["mediaType"]))
        return f"{self.host}/{name}"


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(content: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


def _put_blob(base: str, content: bytes) -> None:
    location = _send("POST", f"{base}/blobs/uploads/")
    separator = "&" if "?" in location else "?"
    _send("PUT", f"{location}{separator}digest={_digest(content)}", content)


def _send(method: str, url: str, content: bytes = b"", kind: str = "application/octet-stream") -> str:
    request = Request(url, data=content, method=method, headers={"Content-Type": kind})
    with urlopen(request, timeout=30) as answer:
        return str(answer.headers.get("Location", ""))


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


async def build(engine: Engine, reference: str, dockerfile: str, files: Mapping[str, bytes]) -> None:
    """Build an image on the Engine, without any of the runner's rules."""
    params = {"t": reference, "rm": True, "forcerm": True}
    await lines(
        engine,
        "build",
        params,
        data=tar_of({"Dockerfile": dockerfile.encode(), **files}),
        headers={"Content-Type": "application/x-tar"},
    )


async def lines(engine: Engine, path: str, params: Mapping[str, Any], **request: Any) -> None:
    """Read a stream of the Engine to its end; an error in it is an error here."""
    async for line in engine.stream_json("POST", path, params=params, **request):
        if "error" in line:
            raise RuntimeError(line["error"])


@pytest.fixture(scope="session")
def registry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of both registries."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="session")
def registry(registry_folder: Path) -> Iterator[Registry]:
    """A registry that gives out everything to everybody."""
    running = Registry(registry_folder)
    yield running
    running.close()


@pytest.fixture(scope="session")
def private_registry(registry_folder: Path) -> Iterator[Registry]:
    """The same images, for those who know the password."""
    running = Registry(registry_folder, private=True)
    yield running
    running.close()
