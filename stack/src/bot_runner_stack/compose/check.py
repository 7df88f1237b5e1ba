"""`make stack`: brings `compose.yaml` up, uses it, restarts what it is made of, and takes it down."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Coroutine, Iterator
from pathlib import Path

import aiohttp
from rich.console import Console

from bot_runner_stack import engine, repository
from bot_runner_stack.compose.bots import bots_of, leftovers_of
from bot_runner_stack.compose.clients import BotRunner, BotSources, Client, TgRunner
from bot_runner_stack.compose.images import Images, prepare_images, remove_images
from bot_runner_stack.compose.project import FIREWALL, ORCHESTRATOR, REDIS, WORKER, ComposeProject
from bot_runner_stack.compose.sources import SourceServer
from bot_runner_stack.console import Progress, show_error
from bot_runner_stack.errors import StackError
from bot_runner_stack.firewall import bridge_prefix
from bot_runner_stack.locks import exclusive
from bot_runner_stack.ports import free_port

HOST = "127.0.0.1"
_REGISTER_SECONDS = 90
_PAUSE_SECONDS = 0.2
_TIME_LIMIT = aiohttp.ClientTimeout(total=5)

_DOCKERFILE = """\
FROM {base_image}
COPY bot.py /app/bot.py
CMD ["python3", "-u", "/app/bot.py"]
"""


async def check_compose(console: Console, *, keep_images: bool = True) -> int:
    """Try the compose file on this machine. Returns 0, or 1 after saying what failed.

    `keep_images` leaves the images that were built for the next run.
    """
    try:
        root = repository.repository_root()
        name = project_name(root)
        with exclusive(
            name, busy="Another `make stack` of this checkout is running: wait until it is through."
        ):
            with _folder(root) as folder:
                await _Check(console, root, name, folder).run()
            if not keep_images:
                await remove_images(name)
    except StackError as error:
        show_error(console, error)
        return 1
    return 0


def project_name(root: Path) -> str:
    """Name of a checkout's Compose project, which is its runner's namespace as well.

    It is always the same, so that a run removes what a killed one left, and no other checkout's.
    """
    return "stack-check-" + hashlib.sha256(str(root).encode()).hexdigest()[:8]


@contextlib.contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """A folder for the files of a run, always the same, so that no token of a killed run stays anywhere."""
    folder = root / ".state" / "stack"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Check:
    def __init__(self, console: Console, root: Path, name: str, folder: Path) -> None:
        self._console = console
        self._root = root
        self._name = name
        self._folder = folder
        self._base_image = os.environ.get("BASE_IMAGE") or "python:3.12-slim"
        self._progress = Progress(console, total=9)
        # Each client is a user of its own: one by CLIENT_TOKEN, the other in the file of clients.
        self._token = secrets.token_hex(16)
        self._other_token = secrets.token_hex(16)
        self._port = free_port(HOST)
        self._project = ComposeProject(root, name, self._settings())

    @property
    def _url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def _settings(self) -> dict[str, str]:
        """What an operator would write into `.env`."""
        settings = {
            "CLIENT_TOKEN": self._token,
            "WORKER_TOKEN": secrets.token_hex(16),
            "PUBLISHED_ADDRESS": HOST,
            "PUBLISHED_PORT": str(self._port),
            "RUNNER_NAMESPACE": self._name,
            "DOCKER_NETWORK": f"{self._name}-bots",
            "WORKER_ID": f"{self._name}-1",
            "BASE_IMAGE": self._base_image,
            "MAX_BOTS_PER_USER": "6",
            "BRIDGE_PREFIX": bridge_prefix(self._name, self._root),
            "ISOLATION_REQUIRED": "on",
            # Without the clouds' metadata addresses, which are outside of this machine.
            "ISOLATION_PROBE": "local",
            "CONFIG_DIR": str(self._config),
            "CA_BUNDLE": "/etc/bot-runner/ca.crt",
            "CLIENTS_CONFIG_PATH": "/etc/bot-runner/clients.toml",
        }
        scheme, _, path = os.environ.get("DOCKER_HOST", "").partition("://")
        return settings | ({"DOCKER_SOCKET": path} if scheme == "unix" else {})

    @property
    def _config(self) -> Path:
        """The operator's folder for files that the services read."""
        return self._folder / "config"

    async def run(self) -> None:
        """Go through all steps. Raises StackError about the one that failed, after cleaning up."""
        async with contextlib.AsyncExitStack() as endings:
            try:
                await self._run(endings)
            except StackError:
                # What went wrong first is what is told, even if cleaning up fails because of it.
                with contextlib.suppress(StackError):
                    await endings.aclose()
                raise
            except asyncio.CancelledError:
                self._console.print("\nInterrupted; cleaning up …")
                raise
        self._console.print(f"\n[bold green]The stack is through[/] in {self._progress.seconds():.0f} s.")

    async def _run(self, endings: contextlib.AsyncExitStack) -> None:
        progress = self._progress
        with progress.step("The images: pulled, or built on this machine"):
            project = self._make_project()
            images = await prepare_images(
                self._root, self._name, project, progress, base_image=self._base_image
            )
            self._project.environment |= images.environment() | {"LOCAL_IMAGES_ALLOWED": images.bot}
        with progress.step("A server with a bot's repository and archive"):
            sources = await self._serve_sources(endings, project, images)
            progress.note(f"{sources.git_url}, {sources.archive_url}")
        with progress.step("docker compose up: Redis, the orchestrator and the worker"):
            await self._remove_everything()  # what a run that was killed left behind
            endings.push_async_callback(self._remove_everything)
            await self._told_with_logs(self._project.up())
            await self._told_with_logs(self._wait_for_worker())
            progress.note(self._url)
        await self._told_with_logs(self._use(sources))
        with progress.step("docker compose down: containers, networks, volumes, and all of the bots"):
            await endings.aclose()
            await self._see_nothing_left()

    async def _use(self, sources: BotSources) -> None:
        progress = self._progress
        bot_runner = BotRunner(self._root, progress, url=self._url, token=self._token)
        tg_runner = TgRunner(self._root, progress, url=self._url, token=self._other_token)
        clients: tuple[Client, ...] = (bot_runner, tg_runner)
        for client in clients:
            with progress.step(f"A user deploys a bot of each mode with {client.name}"):
                await client.deploy(sources)
                await client.use()
        for service in (WORKER, ORCHESTRATOR, REDIS):
            with progress.step(f"docker compose restart {service}, while bots run"):
                before = await bots_of(self._name)
                await self._project.restart(service)
                await self._wait_for_worker()
                for client in clients:
                    await client.see_running(*client.bot_ids)
                after = await bots_of(self._name)
                if after != before:
                    raise StackError(f"Not all bots were left alone: {before} became {after}.")
                progress.note(f"{len(after)} bots ran on")
                await bot_runner.try_a_bot(sources)

    async def _wait_for_worker(self) -> None:
        """Wait until the orchestrator would give tasks to the worker. Raises StackError."""
        headers = {"X-Client-Token": self._token}
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(_REGISTER_SECONDS),
                aiohttp.ClientSession(timeout=_TIME_LIMIT, headers=headers) as session,
            ):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"{self._url}/api/workers") as response:
                            if response.status == 200 and await response.json():
                                return
                    await asyncio.sleep(_PAUSE_SECONDS)
        raise StackError(f"No worker was registered after {_REGISTER_SECONDS} s.")

    def _make_project(self) -> Path:
        """The example bot as a project with a Dockerfile."""
        project = self._folder / "project"
        project.mkdir()
        shutil.copy(self._root / "examples" / "plain_bot" / "bot.py", project)
        (project / "Dockerfile").write_text(_DOCKERFILE.format(base_image=self._base_image))
        return project

    async def _serve_sources(
        self, endings: contextlib.AsyncExitStack, project: Path, images: Images
    ) -> BotSources:
        host = await engine.bridge_address()
        folder = self._folder / "server"
        folder.mkdir()
        server = await endings.enter_async_context(SourceServer(project, folder, host))
        self._config.mkdir()
        shutil.copy(server.certificate, self._config)
        (self._config / "clients.toml").write_text(f'[somebody]\ntoken = "{self._other_token}"\n')
        # The orchestrator reads it as a user of its own, the worker as a root without privileges.
        self._config.chmod(0o755)
        for file in self._config.iterdir():
            file.chmod(0o644)
        self._project.environment["SOURCE_ADDRESSES_ALLOWED"] = f"{host}/32"
        return BotSources(
            code=self._root / "examples" / "plain_bot" / "bot.py",
            project=project,
            git_url=server.git_url,
            archive_url=server.archive_url,
            image=images.bot,
        )

    async def _remove_everything(self) -> None:
        try:
            # A worker that still runs could start what was just removed.
            await self._project.stop(WORKER)
            await self._project.run(WORKER, "remove-all", "--yes")
            await self._project.stop(FIREWALL)
            await self._project.run(FIREWALL, "firewall", "remove")
        finally:
            await self._project.down()

    async def _see_nothing_left(self) -> None:
        left = await self._project.leftovers() + await leftovers_of(self._name)
        if left:
            raise StackError(f"Something was left behind: {', '.join(left)}.")

    async def _told_with_logs(self, work: Coroutine[None, None, None]) -> None:
        """Do some work; if it fails, tell what the services logged as well."""
        try:
            await work
        except StackError as error:
            try:
                logs = await self._project.logs()
            except StackError:
                logs = ""
            parts = [part for part in (error.log_tail, logs) if part]
            raise StackError(str(error), log_tail="\n".join(parts)) from error
