"""Registries of the corpus: a real one, the same with a password, and some that misbehave."""

import atexit
import hashlib
import json
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.registry import Registry

from bot_runner_worker.testing.source_server import ALLOWED, Handler, Server

OPEN: dict[str, Any] = {"registries_allowed": "*"}
"""Settings: all registries that have an address which is open; the corpus opens 127.0.0.1."""

_DOCKER = "application/vnd.docker"
_DIGEST = "sha256:" + "ab" * 32


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="corpus-registry-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def real_registry(*, private: bool = False) -> Registry:
    """A real registry; the private one holds the same images."""
    registry = Registry(_folder(), private=private)
    atexit.register(registry.close)
    return registry


class FakeRegistry:
    """A server that speaks just enough of a registry's protocol to misbehave.

    Args:
        behaviour: A status for every answer, or what it does instead.
        target: An address that it leads to.
    """

    def __init__(self, behaviour: int | str, target: str = "") -> None:
        self._behaviour = behaviour
        self._target = target
        self.server = Server(self._answer)
        self.host = f"{ALLOWED}:{self.server.port}"

    def _answer(self, handler: Handler) -> None:
        if isinstance(self._behaviour, int):
            code = "TOOMANYREQUESTS" if self._behaviour == 429 else "UNAVAILABLE"
            body = {"errors": [{"code": code, "message": "sorry"}]}
            handler.reply(self._behaviour, json.dumps(body).encode(), content_type="application/json")
        elif self._behaviour == "silent":
            time.sleep(30)
        elif self._behaviour == "huge":
            # Not endless: the Engine reads all of it into its memory several times over, and the machine's
            # would be gone in a minute. That is why a registry must be trusted before it is asked.
            handler.reply(200, bytes(16 * 1024 * 1024))
        elif self._behaviour == "garbage":
            handler.wfile.write(b"\0\1\2 this is not HTTP\r\n\r\n")
        elif self._behaviour == "realm":
            handler.reply(401, WWW_Authenticate=f'Bearer realm="{self._target}",service="x"')
        elif handler.path == "/v2/":
            handler.reply(200)
        elif self._behaviour in ("layer-url", "redirect"):
            self._lead_away(handler)
        elif self._behaviour == "html":
            handler.reply(200, b"<html>Welcome!</html>", content_type="text/html")
        elif self._behaviour == "another-manifest":
            # What comes is not what the digest in the answer's head says.
            kind = f"{_DOCKER}.distribution.manifest.v2+json"
            body = json.dumps({"schemaVersion": 2, "mediaType": kind}).encode()
            handler.reply(200, body, content_type=kind, Docker_Content_Digest=_DIGEST)
        else:
            handler.reply(404)

    def _lead_away(self, handler: Handler) -> None:
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}}).encode()
        layer: dict[str, Any] = {"mediaType": f"{_DOCKER}.image.rootfs.diff.tar.gzip", "digest": _DIGEST}
        if self._behaviour == "layer-url":
            layer["mediaType"] = f"{_DOCKER}.image.rootfs.foreign.diff.tar.gzip"
            layer["urls"] = [self._target]
        config_digest = "sha256:" + hashlib.sha256(config).hexdigest()
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_DOCKER}.distribution.manifest.v2+json",
            "config": {
                "mediaType": f"{_DOCKER}.container.image.v1+json",
                "size": len(config),
                "digest": config_digest,
            },
            "layers": [{"size": 10, **layer}],
        }
        if "/manifests/" in handler.path:
            handler.reply(200, json.dumps(manifest).encode(), content_type=str(manifest["mediaType"]))
        elif handler.path.endswith(config_digest):
            handler.reply(200, config)
        elif self._behaviour == "redirect":
            handler.reply(307, Location=self._target)
        else:
            handler.reply(404)


@cache
def fake_registry(behaviour: int | str, target: str = "") -> FakeRegistry:
    """A registry that misbehaves in this way."""
    return FakeRegistry(behaviour, target)
