"""Each mode from each of its sources, as a user deploys it: the CLI, the orchestrator, real servers."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import BASE_IMAGE, IDLE_BOT
from tests.corpus.servers import GIT_TOKEN, Servers
from tests.plugins.bot_projects import PROJECTS
from tests.plugins.custom_archive.test_projects import archive_of
from tests.registry import PASSWORD, USERNAME, Registry
from tests.stack.conftest import Client

from bot_runner_stack.embedded import EmbeddedStack
from bot_runner_worker.engine import Engine
from bot_runner_worker.testing.waiting import until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="session")
async def stack(stack_with_sources: EmbeddedStack) -> EmbeddedStack:
    """The stack whose operator opens the servers of these tests."""
    return stack_with_sources


async def deploy(client: Client, *arguments: str, stdin: str = "", **environment: str) -> dict[str, Any]:
    """Start a bot with the CLI and see it say "ready"; returns the start's result."""
    start = ("start", "bot", "--watch", "0.2", *arguments)
    result = await _cli(client, *start, stdin=stdin, **environment)
    assert result["bot_status"] == "running"

    async def ready() -> bool:
        return "ready" in (await _cli(client, "logs", "bot"))["logs"]

    await until(ready, what="the bot's first word")
    return result


async def _cli(client: Client, *words: str, stdin: str = "", **environment: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(".venv/bin/bot-runner", *words, "--json"),
        env=os.environ | client.environment | environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
    assert process.returncode == 0, output.decode() + errors.decode()
    answer: dict[str, Any] = json.loads(output)
    return answer


async def test_simple_from_a_folder(client: Client, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(IDLE_BOT)
    assert (await deploy(client, "--simple", str(tmp_path)))["mode"] == "simple"


async def test_git_without_a_password(client: Client, servers: Servers) -> None:
    servers.repository("open.git").commit_files(PROJECTS["dockerfile-at-the-root"])
    assert (await deploy(client, "--git", servers.git.url("/open.git")))["mode"] == "custom"


async def test_git_with_a_password(client: Client, servers: Servers) -> None:
    servers.repository("private/closed.git").commit_files(PROJECTS["requirements"])
    url = servers.git.url("/private/closed.git")
    result = await deploy(client, "--git", url, "--branch", "main", GIT_TOKEN=GIT_TOKEN)
    assert any("no Dockerfile" in note for note in result["notes"])
    assert GIT_TOKEN not in str(result)


async def test_an_archive_over_https(client: Client, servers: Servers) -> None:
    url = servers.file("bot.tar.gz", archive_of(PROJECTS["multi-stage"]), secure=True)
    await deploy(client, "--custom", url)


@pytest.mark.parametrize("kind", ["folder", "file"])
async def test_an_archive_that_is_sent(client: Client, tmp_path: Path, kind: str) -> None:
    project = tmp_path / "project"
    for path, content in PROJECTS["dockerfile-in-a-subfolder"].items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    if kind == "file":
        project = tmp_path / "bot.zip"
        project.write_bytes(archive_of(PROJECTS["dockerfile-in-a-subfolder"], "zip"))
    await deploy(client, "--custom", str(project))


async def test_an_image_from_a_private_registry(
    client: Client, private_registry: Registry, engine: Engine
) -> None:
    dockerfile = f'FROM {BASE_IMAGE}\nCOPY bot.py /bot.py\nCMD ["python3", "-u", "/bot.py"]\n'
    image = await private_registry.push(engine, "acme/modes:1", dockerfile, {"bot.py": IDLE_BOT.encode()})
    password = ("--registry-user", USERNAME, "--registry-password-stdin")
    result = await deploy(client, "--image", image, *password, stdin=PASSWORD)
    assert result["mode"] == "image"
    assert PASSWORD not in str(result)
