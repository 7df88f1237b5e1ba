"""The published client of the older API (tg-runner-cli 1.0.0), unchanged, against the whole stack: every
command and every mode, judged by what its user sees.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import BASE_IMAGE, IDLE_BOT
from tests.corpus.git_server import serve_repositories
from tests.corpus.servers import Server, Servers
from tests.plugins.bot_projects import PROJECTS, Project
from tests.plugins.custom_archive.test_projects import archive_of
from tests.registry import PASSWORD, USERNAME, Registry
from tests.stack.conftest import Client

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.slow

_SECONDS = 180


@pytest.fixture(scope="session")
async def stack(stack_with_sources: EmbeddedStack) -> EmbeddedStack:
    """The stack whose operator opens the servers of these tests."""
    return stack_with_sources


class GitOverTls(Server):
    """Repositories over HTTPS; it says goodbye as TLS wants it, which git insists on."""

    def __init__(self, servers: Servers) -> None:
        folder = servers.folder / "git"
        super().__init__(
            lambda handler: serve_repositories(handler, folder), tls=servers.authority.server_context()
        )

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with contextlib.suppress(OSError, ValueError):
            request.unwrap()
        super().shutdown_request(request)


class ExistingClient:
    """The command ``tg-runner``, as its user types it.

    Args:
        stack: Whom it talks to.
        token: Its token.
        environment: What else is in its environment.
    """

    def __init__(self, stack: EmbeddedStack, token: str, **environment: str) -> None:
        self._stack = stack
        self._environment = os.environ | {
            "TG_RUNNER_URL": stack.url,
            "TG_RUNNER_TOKEN": token,
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "300",
            **environment,
        }

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        """Start the command; standard error goes where the output goes."""
        return await asyncio.create_subprocess_exec(
            *(".venv/bin/tg-runner", *words),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # A test run in the background ignores SIGINT, and would hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
        )

    async def run(self, *words: str, exit_code: int = 0) -> str:
        """Run the command to its end; returns what it shows."""
        process = await self.begin(*words)
        output, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
        shown = output.decode()
        assert "Traceback" not in shown, shown
        assert process.returncode == exit_code, shown + self._stack.log_tail()
        return shown

    async def shows(self, *words: str, text: str) -> str:
        """Run a command again and again until it shows this."""
        shown = ""

        async def comes() -> bool:
            nonlocal shown
            shown = await self.run(*words)
            return text in shown

        await until(comes, _SECONDS, lambda: f"{text!r} in {shown}")
        return shown


@pytest.fixture
async def user(stack: EmbeddedStack, client: Client) -> ExistingClient:
    """A user of the client."""
    return ExistingClient(stack, client.token)


def write(folder: Path, project: Project) -> Path:
    for path, content in project.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


async def deploys(user: ExistingClient, *words: str) -> str:
    """Start a bot and see it say "ready"; returns what the start shows."""
    shown = await user.run("start", "bot", *words)
    assert "✅ Успех" in shown
    assert "Бот 'bot' успешно запущен!" in shown
    assert "container_name: bot-" in shown
    await user.shows("logs", "bot", text="ready")
    return shown


async def test_a_single_file_with_its_environment(user: ExistingClient, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text("import os\nprint(os.environ['GREETING'])\n" + IDLE_BOT)
    await deploys(user, "--simple", str(tmp_path / "echo.py"), "-e", "GREETING=hello=there")
    assert "hello=there" in await user.run("logs", "bot")


async def test_several_files(user: ExistingClient, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text(IDLE_BOT)
    await deploys(user, "--simple", str(tmp_path / "main.py"), str(tmp_path / "helper.py"))


async def test_a_folder_with_an_entrypoint(user: ExistingClient, tmp_path: Path) -> None:
    write(tmp_path, {"app/start.py": "import parts\n", "app/parts.py": IDLE_BOT})
    await deploys(user, "--simple", str(tmp_path), "--entrypoint", "app/start.py")


async def test_code_on_the_command_line(user: ExistingClient) -> None:
    await deploys(user, "--simple", "-", "--inline", "--code", IDLE_BOT)


async def test_a_folder_with_a_dockerfile(user: ExistingClient, tmp_path: Path) -> None:
    await deploys(user, "--custom", str(write(tmp_path, PROJECTS["dockerfile-at-the-root"])))


async def test_an_archive_file(user: ExistingClient, tmp_path: Path) -> None:
    archive = tmp_path / "bot.tar.gz"
    archive.write_bytes(archive_of(PROJECTS["multi-stage"]))
    await deploys(user, "--custom", str(archive))


async def test_an_archive_at_an_address(user: ExistingClient, servers: Servers) -> None:
    await deploys(
        user, "--custom", servers.file("bot.tar.gz", archive_of(PROJECTS["multi-stage"]), secure=True)
    )


async def test_a_branch_of_a_git_repository(user: ExistingClient, servers: Servers) -> None:
    repository = servers.repository("existing-client.git")
    repository.commit_files({"Dockerfile": f'FROM {BASE_IMAGE}\nCMD ["false"]\n'})
    repository.commit_files(PROJECTS["dockerfile-at-the-root"], ref="refs/heads/dev")
    # The client takes an address for a repository only if it begins with https:// or git@.
    with contextlib.closing(GitOverTls(servers)) as git:
        await deploys(user, "--git", git.url("/existing-client.git"), "--branch", "dev")


async def test_an_image_from_a_private_registry(
    user: ExistingClient, private_registry: Registry, engine: Engine
) -> None:
    dockerfile = f'FROM {BASE_IMAGE}\nCOPY bot.py /bot.py\nCMD ["python3", "-u", "/bot.py"]\n'
    image = await private_registry.push(engine, "acme/old:1", dockerfile, {"bot.py": IDLE_BOT.encode()})
    shown = await deploys(user, "--image", image, "--registry-user", USERNAME, "--registry-pass", PASSWORD)
    assert PASSWORD not in shown


async def test_a_bot_from_its_start_to_its_end(user: ExistingClient, tmp_path: Path) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text("print('first version')\n" + IDLE_BOT)
    await deploys(user, "--simple", str(bot))
    assert "🟢 RUNNING" in await user.run("status", "bot")
    assert "🟢 running" in await user.run("list")

    bot.write_text("print('second version')\n" + IDLE_BOT)
    shown = await user.run("update", "bot", "--simple", str(bot))
    assert "✓ Остановлен" in shown
    assert "Бот 'bot' успешно обновлён!" in shown
    logs = await user.shows("logs", "bot", text="ready")
    assert "Статус контейнера: 🟢 running" in logs
    assert "second version" in logs
    assert "first version" not in logs

    assert "Бот 'bot' остановлен" in await user.run("stop", "bot")
    status = await user.run("status", "bot")
    assert "STOPPED" in status
    assert "Посмотреть логи" in status
    # What this client calls a restart is a stop and an advice.
    assert "Для перезапуска" in await user.run("restart", "bot")


async def test_logs_are_shown_as_the_bot_wrote_them(user: ExistingClient, tmp_path: Path) -> None:
    lines = [
        "[/start] from 42",
        "[info] polling",
        "[ERROR] [bold]no[/bold] answer",
        "'[a]', \\[b]",
        "data[0]",
    ]
    (tmp_path / "bot.py").write_text("".join(f"print({line!r})\n" for line in lines) + IDLE_BOT)
    await deploys(user, "--simple", str(tmp_path / "bot.py"))
    shown = (await user.run("logs", "bot", "--lines", "10")).splitlines()
    assert [line.rstrip() for line in shown if line.rstrip() in lines] == lines


async def test_logs_are_followed_until_ctrl_c(user: ExistingClient, tmp_path: Path) -> None:
    bot = "import itertools, time\nfor n in itertools.count():\n    print('line', n)\n    time.sleep(0.5)\n"
    (tmp_path / "bot.py").write_text(bot)
    await user.run("start", "bot", "--simple", str(tmp_path / "bot.py"))
    process = await user.begin("logs", "bot", "--follow")
    assert process.stdout is not None
    seen: list[str] = []
    async with asyncio.timeout(_SECONDS):
        while "line 8" not in seen:
            seen.append((await process.stdout.readline()).decode().strip())
    process.send_signal(signal.SIGINT)
    rest, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    assert "Остановлено" in rest.decode()
    assert process.returncode == 0
    numbers = [line for line in seen if line.startswith("line ")]
    assert numbers == [f"line {n}" for n in range(9)]


async def test_errors_say_what_is_wrong_and_what_to_do(
    user: ExistingClient, stack: EmbeddedStack, tmp_path: Path
) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text(IDLE_BOT)
    await deploys(user, "--simple", str(bot))
    bot.write_text("print('other')\n" + IDLE_BOT)
    shown = await user.run("start", "bot", "--simple", str(bot))
    assert "❌ Ошибка" in shown
    assert "Код ошибки: BOT_ALREADY_RUNNING" in shown
    assert "• status: running" in shown
    assert "Use the command update to replace it" in shown

    for command in ("logs", "restart"):
        # This client's restart stops first, and stopping what is not there is no error.
        shown = await user.run(command, "nobody")
        assert ("Код ошибки: BOT_NOT_FOUND" in shown) == (command == "logs")
    assert "Бот 'nobody' не найден" in await user.run("status", "nobody")

    broken = write(tmp_path / "broken", {"Dockerfile": f"FROM {BASE_IMAGE}\nRUN echo '[/oops]' && false\n"})
    shown = await user.run("start", "broken", "--custom", str(broken))
    assert "Код ошибки: BUILD_FAILED" in shown
    assert "[/oops]" in shown

    shown = await ExistingClient(stack, "no such token").run("list", exit_code=1)
    assert "Код ошибки: UNAUTHORIZED" in shown
    assert "TG_RUNNER_TOKEN" in shown


async def test_users_are_kept_apart_and_share_their_bots_with_the_newer_client(
    user: ExistingClient,
    client: Client,
    make_client: Callable[[], Awaitable[Client]],
    stack: EmbeddedStack,
    tmp_path: Path,
) -> None:
    (tmp_path / "bot.py").write_text(IDLE_BOT)
    await deploys(user, "--simple", str(tmp_path / "bot.py"))

    stranger = ExistingClient(stack, (await make_client()).token)
    assert "У вас нет активных ботов" in await stranger.run("list")
    assert "Код ошибки: BOT_NOT_FOUND" in await stranger.run("logs", "bot")
    await stranger.run("stop", "bot")

    status = await client.result("status", bot_id="bot")
    assert status["status"] == "running"


async def test_secrets_stay_out_of_logs_and_history(
    user: ExistingClient, client: Client, stack: EmbeddedStack, tmp_path: Path
) -> None:
    (tmp_path / "bot.py").write_text("# SENTINEL-in-code\n" + IDLE_BOT)
    await deploys(user, "--simple", str(tmp_path / "bot.py"), "-e", "BOT_TOKEN=SENTINEL-in-env")
    folder = stack.orchestrator.log.parent

    def history() -> bytes:
        return b"".join(path.read_bytes() for path in folder.glob("history*"))

    # It is written in the background.
    await until(lambda: all(word in history() for word in (b"job_completed", client.user_id.encode())))
    for written in (history(), stack.orchestrator.log.read_bytes(), stack.workers[0].log.read_bytes()):
        assert b"SENTINEL" not in written
        assert client.token.encode() not in written
