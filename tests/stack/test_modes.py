"""Each mode from each of its sources, as a user deploys it: the CLI, the orchestrator, real servers."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.conftest import BASE_IMAGE, ENGINE, IDLE_BOT
from tests.corpus.conftest import servers
from tests.corpus.servers import ALLOWED, GIT_TOKEN, Servers
from tests.plugins.bot_projects import PROJECTS
from tests.plugins.custom_archive.test_projects import archive_of
from tests.registry import PASSWORD, USERNAME, Registry, private_registry, registry_folder
from tests.stack.conftest import sweep

from bot_runner_stack.embedded import EmbeddedStack, StackOptions
from bot_runner_worker.engine import Engine

__all__ = ["private_registry", "registry_folder", "servers"]

pytestmark = [pytest.mark.stack, pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(servers: Servers, private_registry: Registry) -> AsyncIterator[EmbeddedStack]:
    """A stack whose operator opens the servers of this test, and nothing else."""
    worker = {
        "SOURCE_ADDRESSES_ALLOWED": f"{ALLOWED}/32",
        "CA_BUNDLE": str(servers.authority.certificate),
        "REGISTRIES_ALLOWED": private_registry.host,
        "MAX_BOTS_PER_USER": "20",
        "STOP_GRACE_SECONDS": "1",
    }
    async with EmbeddedStack(StackOptions(worker_env=worker)) as running:
        try:
            yield running
        finally:
            await sweep(running)


async def deploy(
    stack: EmbeddedStack, *arguments: str, stdin: str = "", **environment: str
) -> dict[str, Any]:
    """Start a bot with the CLI, see it say "ready", stop it; returns the start's result."""
    result = await _cli(stack, "start", "bot", "--replace", *arguments, stdin=stdin, **environment)
    assert result["bot_status"] == "running"
    logs = await _cli(stack, "logs", "bot")
    assert "ready" in logs["logs"]
    await _cli(stack, "stop", "bot")
    return result


async def _cli(stack: EmbeddedStack, *words: str, stdin: str = "", **environment: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(".venv/bin/bot-runner", *words, "--json"),
        env=stack.worker_environment() | stack.client_environment | environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
    assert process.returncode == 0, output.decode() + errors.decode()
    answer: dict[str, Any] = json.loads(output)
    return answer


async def test_simple_from_a_folder(stack: EmbeddedStack, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(IDLE_BOT)
    assert (await deploy(stack, "--simple", str(tmp_path)))["mode"] == "simple"


async def test_git_without_a_password(stack: EmbeddedStack, servers: Servers) -> None:
    servers.repository("open.git").commit_files(PROJECTS["dockerfile-at-the-root"])
    assert (await deploy(stack, "--git", servers.git.url("/open.git")))["mode"] == "custom"


async def test_git_with_a_password(stack: EmbeddedStack, servers: Servers) -> None:
    servers.repository("private/closed.git").commit_files(PROJECTS["requirements"])
    url = servers.git.url("/private/closed.git")
    result = await deploy(stack, "--git", url, "--branch", "main", GIT_TOKEN=GIT_TOKEN)
    assert any("no Dockerfile" in note for note in result["notes"])
    assert GIT_TOKEN not in str(result)


async def test_an_archive_over_https(stack: EmbeddedStack, servers: Servers) -> None:
    url = servers.file("bot.tar.gz", archive_of(PROJECTS["multi-stage"]), secure=True)
    await deploy(stack, "--custom", url)


@pytest.mark.parametrize("kind", ["folder", "file"])
async def test_an_archive_that_is_sent(stack: EmbeddedStack, tmp_path: Path, kind: str) -> None:
    project = tmp_path / "project"
    for path, content in PROJECTS["dockerfile-in-a-subfolder"].items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    if kind == "file":
        project = tmp_path / "bot.zip"
        project.write_bytes(archive_of(PROJECTS["dockerfile-in-a-subfolder"], "zip"))
    await deploy(stack, "--custom", str(project))


async def test_an_image_from_a_private_registry(stack: EmbeddedStack, private_registry: Registry) -> None:
    dockerfile = f'FROM {BASE_IMAGE}\nCOPY bot.py /bot.py\nCMD ["python3", "-u", "/bot.py"]\n'
    async with Engine(ENGINE) as engine:
        image = await private_registry.push(engine, "acme/modes:1", dockerfile, {"bot.py": IDLE_BOT.encode()})
    password = ("--registry-user", USERNAME, "--registry-password-stdin")
    result = await deploy(stack, "--image", image, *password, stdin=PASSWORD)
    assert result["mode"] == "image"
    assert PASSWORD not in str(result)
