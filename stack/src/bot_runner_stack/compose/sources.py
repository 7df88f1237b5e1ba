"""A server for bots' code that the worker's container can reach: a Git repository and an archive, over HTTPS.

The certificate is its own authority, for which an operator has the setting CA_BUNDLE.
"""

import asyncio
import io
import os
import ssl
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from bot_runner_stack.commands import run_command
from bot_runner_stack.ports import free_port

_COMMAND_SECONDS = 30
_GIT_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
_AUTHOR = ("-c", "user.name=stack", "-c", "user.email=stack@example.com", "-c", "init.defaultBranch=main")


class SourceServer:
    """Serves a bot's project as `git_url` and `archive_url` while it is open (an async context manager).

    `project` is the folder to serve, `folder` an empty one for the repository and the keys; `host` is the
    address to listen on. Raises StackError if git or openssl fails.
    """

    def __init__(self, project: Path, folder: Path, host: str) -> None:
        self.certificate = folder / "ca.crt"
        self._project = project
        self._folder = folder
        self._host = host
        self._port = free_port(host)
        self._archive = b""
        application = web.Application()
        application.router.add_get("/bot.tar.gz", self._send_archive)
        application.router.add_route("*", "/{path:bot\\.git/.*}", self._git)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)

    @property
    def git_url(self) -> str:
        """The address of the repository."""
        return f"https://{self._host}:{self._port}/bot.git"

    @property
    def archive_url(self) -> str:
        """The address of the archive."""
        return f"https://{self._host}:{self._port}/bot.tar.gz"

    async def __aenter__(self) -> Self:
        await self._make_certificate()
        await self._make_repository()
        self._archive = _archive_of(self._project)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self._folder / "key.pem")
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=context).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _make_certificate(self) -> None:
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        subject = ["-subj", "/CN=bot-runner-stack", "-addext", f"subjectAltName=IP:{self._host}"]
        files = ["-nodes", "-days", "2", "-keyout", str(self._folder / "key.pem")]
        await self._command(*request, *subject, *files, "-out", self.certificate)

    async def _make_repository(self) -> None:
        folders = ["--git-dir", str(self._folder / "bot.git"), "--work-tree", str(self._project)]
        for command in (("init",), ("add", "--all"), ("commit", "--quiet", "--message", "A bot")):
            await self._command("git", *folders, *_AUTHOR, *command)

    async def _command(self, *command: str | Path) -> None:
        await run_command(command, env=_GIT_ENVIRONMENT, cwd=self._folder, seconds=_COMMAND_SECONDS)

    async def _send_archive(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._archive, content_type="application/gzip")

    async def _git(self, request: web.Request) -> web.Response:
        """Git's own server, `git http-backend`, is a CGI program."""
        backend = await asyncio.create_subprocess_exec(
            *("git", "http-backend"),
            env={
                **_GIT_ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(self._folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": request.method,
                "PATH_INFO": "/" + request.match_info["path"],
                "QUERY_STRING": request.query_string,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
                "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        answer, _ = await backend.communicate(await request.read())
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=body)


def _archive_of(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, arcname=".")
    return buffer.getvalue()
