"""Git over smart HTTP: an honest server, and some that misbehave."""

import base64
import io
import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from bot_runner_worker.testing.source_server import Handler, drip, endless

GIT_USER = "git-user"
GIT_PASSWORD = "sentinel-git-password"
GIT_TOKEN = "sentinel-git-token"

_ADVERTISEMENT = "application/x-git-upload-pack-advertisement"
_SERVICE = b"001e# service=git-upload-pack\n0000"


def is_authorized(handler: Handler) -> bool:
    """Whether the request carries the password or the token."""
    kind, _, value = handler.headers.get("Authorization", "").partition(" ")
    pair = base64.b64decode(value).decode() if kind == "Basic" else ""
    return pair in (f"{GIT_USER}:{GIT_PASSWORD}", f"x-access-token:{GIT_TOKEN}")


def serve_repositories(handler: Handler, root: Path) -> None:
    """``git http-backend`` as a CGI program; what is below ``private/`` wants a password."""
    parts = urlsplit(handler.path)
    if parts.path.startswith("/private/") and not is_authorized(handler):
        handler.reply(401, WWW_Authenticate='Basic realm="git"')
        return
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "REQUEST_METHOD": handler.command,
        "PATH_INFO": parts.path,
        "QUERY_STRING": parts.query,
        "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
        "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
    }
    body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["git", "http-backend"], env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
    ) as backend:
        assert backend.stdin is not None
        assert isinstance(backend.stdout, io.BufferedReader)
        backend.stdin.write(body)
        backend.stdin.close()
        headers = {}
        while line := backend.stdout.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        handler.begin(status=int(headers.pop("Status", "200 OK").split()[0]), **headers)
        try:
            while chunk := backend.stdout.read1(1 << 20):
                handler.wfile.write(chunk)
        except OSError:
            backend.kill()


def misbehave(handler: Handler, how: str, redirect_to: str) -> None:
    """Answer as no Git server should.

    Args:
        handler: The request.
        how: The first part of the path.
        redirect_to: Where ``redirect`` leads.
    """
    match how:
        case "redirect":
            handler.reply(302, Location=redirect_to)
        case "endless":
            handler.begin(_ADVERTISEMENT)
            handler.wfile.write(_SERVICE)
            endless(handler, b"003f" + b"a" * 40 + b" refs/heads/endless0\n")
        case "drip":
            handler.begin(_ADVERTISEMENT)
            drip(handler)
        case "garbage":
            handler.begin(_ADVERTISEMENT)
            handler.wfile.write(_SERVICE + b"zzzz" + b"\0" * 100)
        case "page":
            handler.reply(200, b"<html>hello</html>", Content_Type="text/html")
        case "endless-pack":
            _endless_pack(handler)
        case _ if how.isdigit():
            handler.reply(int(how), b"no")
        case _:
            handler.reply(404)


def _endless_pack(handler: Handler) -> None:
    oid = b"a" * 40
    if handler.command == "GET":
        handler.begin(_ADVERTISEMENT)
        head = oid + b" HEAD\0shallow side-band-64k symref=HEAD:refs/heads/main\n"
        handler.wfile.write(_SERVICE + _packet(head) + _packet(oid + b" refs/heads/main\n") + b"0000")
        return
    body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    handler.begin("application/x-git-upload-pack-result")
    handler.wfile.write(_packet(b"shallow " + oid) + b"0000")
    if b"0009done" in body:
        handler.wfile.write(_packet(b"NAK\n") + _packet(b"\1PACK\0\0\0\2\0\0\0\1"))
        # One blob of 2^57 bytes in stored deflate blocks, as fast as the client takes it.
        handler.wfile.write(_packet(b"\1\xbf" + b"\xff" * 7 + b"\x0f\x78\x01"))
        endless(handler, _packet(b"\1\0\0\x80\xff\x7f" + os.urandom(0x8000)))


def _packet(data: bytes) -> bytes:
    return f"{len(data) + 4:04x}".encode() + data
