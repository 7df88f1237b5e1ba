"""The commands that the READMEs and the guide show: each is run by a test, or has a reason why not."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.cli.fake_orchestrator import CLIENT_TOKEN, FakeOrchestrator, bot, finished, logs
from tests.conftest import BASE_IMAGE, ENGINE
from tests.images.docker_cli import REPOSITORY
from tests.images.readme import READMES, blocks

from bot_runner_stack import ports
from bot_runner_worker.testing.waiting import until_sync

DOCUMENTS = (*READMES, "docs/operating.md", "docs/operating.ru.md")

HERE = "tests/test_readme_commands.py"
_COMPOSE = (
    "tests/compose/test_stack.py",
    "test_the_stack_serves_both_clients_and_survives_the_restart_of_each_service",
)

RUN_BY = {
    "make demo": (
        "tests/stack/test_demo.py",
        "test_the_demo_shows_a_bot_from_its_start_to_its_end_and_leaves_nothing",
    ),
    "make up": ("tests/stack/test_up.py", "test_the_printed_lines_start_a_bot_that_outlives_the_stack"),
    "docker run -d --name bot-runner-firewall": (
        "tests/images/test_firewall_container.py",
        "test_the_readmes_two_commands_start_bots_on_a_closed_host",
    ),
    "docker run -d": (
        "tests/images/test_worker_image.py",
        "test_the_readmes_command_serves_bots_until_sigterm",
    ),
    "pip install ./core": (HERE, "test_the_distributions_install_with_plain_pip"),
    "docker build -t bot-runner-orchestrator": _COMPOSE,
    "docker compose stop": _COMPOSE,
    "export BOT_RUNNER_URL": (HERE, "test_the_bots_of_the_readme_are_deployed"),
    'echo \'{"user_id"': (HERE, "test_the_readmes_task_runs_without_an_orchestrator"),
}
"""Which test runs a block, by its first words."""

NOT_RUN = {
    "useradd --system": "makes a user of the machine's; its pip install is the README's, with another path",
}
"""Blocks that no test runs, with the reason."""


def shell_blocks(document: str) -> list[str]:
    """The shell commands of a document, comments aside."""
    return [re.sub(r" +# .*", "", block).strip() for block in blocks(document, "sh")]


def block(beginning: str) -> str:
    """The README's block that begins like this."""
    [found] = [each for each in shell_blocks("README.md") if each.startswith(beginning)]
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_block_of_commands_is_run_or_has_a_reason(document: str) -> None:
    known = (*RUN_BY, *NOT_RUN)
    unknown = [each for each in shell_blocks(document) if not each.startswith(known)]
    assert unknown == [], "name the test that runs it in RUN_BY, or the reason in NOT_RUN"


def test_no_entry_is_left_over() -> None:
    shown = [each for document in DOCUMENTS for each in shell_blocks(document)]
    assert [key for key in (*RUN_BY, *NOT_RUN) if not any(each.startswith(key) for each in shown)] == []


@pytest.mark.parametrize(("path", "name"), sorted(set(RUN_BY.values())))
def test_the_tests_that_run_them_exist(path: str, name: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse((REPOSITORY / path).read_text())
    assert [node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name == name]


def shell(
    commands: str, home: Path, *, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run commands as a user of this environment does, until one fails.

    Args:
        commands: Lines for a shell.
        home: The user's home.
        folder: Where they are run; by default at home.
        environment: Further variables.
    """
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder or home,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_bots_of_the_readme_are_deployed(tmp_path: Path) -> None:
    """Against the stand-in for the orchestrator: GitHub and ghcr.io are not ours to ask."""
    for path in ("bot.py", "my-project/bot.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("print('hello')\n")
    orchestrator = FakeOrchestrator()
    orchestrator.answers("status", bot(bot_id="echo"))
    orchestrator.answers("logs", logs("hello\n", status="exited"))
    orchestrator.answers("list", finished(bots=[], count=0, max_bots=3))
    orchestrator.answers("stop", finished(status="stopped", container_name="bot-echo"))
    commands = block("export BOT_RUNNER_URL")
    commands = re.sub(
        r"(BOT_RUNNER_URL)=\S+ (BOT_RUNNER_TOKEN)=\S+", rf"\1={orchestrator.url} \2={CLIENT_TOKEN}", commands
    )
    # The bots are watched for a shorter time than usual.
    commands = re.sub(r"^bot-runner start .*", r"\g<0> --watch 0.1", commands, flags=re.MULTILINE)
    try:
        done = shell(commands, tmp_path)
    finally:
        orchestrator.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(each["bot_id"], each["deployment_mode"]) for each in orchestrator.asked("start")] == [
        ("echo", "simple"),
        ("shop", "custom"),
        ("shop2", "custom"),
        ("shop3", "image"),
    ]
    assert {each["env_vars"]["BOT_TOKEN"] for each in orchestrator.asked("start")} == {"123:ABC"}
    assert [each["bot_id"] for each in orchestrator.asked("stop")] == ["echo"]


@pytest.fixture
def runner_environment() -> Iterator[dict[str, str]]:
    """Settings of a runner of its own; all that it makes is removed."""
    name = f"test-{uuid4().hex[:12]}"
    settings = {
        "DOCKER_HOST": ENGINE,
        "BASE_IMAGE": BASE_IMAGE,
        "RUNNER_NAMESPACE": name,
        "DOCKER_NETWORK": f"{name}-net",
        "ISOLATION_PROBE": "off",
        "HEALTH_ADDRESS": "off",
    }
    yield settings
    command = [str(Path(sys.executable).parent / "bot-runner-worker"), "remove-all", "--yes"]
    subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, timeout=120)


@pytest.mark.engine
def test_the_readmes_task_runs_without_an_orchestrator(
    tmp_path: Path, runner_environment: dict[str, str]
) -> None:
    """With the README's plugin installed."""
    [code] = [each for each in blocks("README.md", "python") if "@hookimpl" in each]
    (tmp_path / "hello_plugin.py").write_text(code)
    [declared] = blocks("README.md", "toml")
    [entry] = re.findall(r"^hello = \"(\w+)\"", declared, re.MULTILINE)
    info = tmp_path / "hello-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bot_runner_worker]\nhello = {entry}\n")

    done = shell(block("echo"), tmp_path, PYTHONPATH=str(tmp_path), **runner_environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["data"]["status"]) == ("success", "started")


@pytest.mark.images
def test_the_distributions_install_with_plain_pip(tmp_path: Path, runner_environment: dict[str, str]) -> None:
    """In an environment of their own, from the package index, without this repository's tools."""
    venv.create(tmp_path / "venv", with_pip=True)
    path = f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"
    install, run = block("pip install ./core").splitlines()
    done = shell(install, tmp_path, folder=REPOSITORY, PATH=path)
    assert done.returncode == 0, done.stderr[-2000:]

    listed = shell("bot-runner-worker plugins", tmp_path, PATH=path)
    assert len(re.findall(r"^\w+  loaded  ", listed.stdout, re.MULTILINE)) == 4, listed.stdout

    address = f"127.0.0.1:{ports.free_port('127.0.0.1')}"
    environment = runner_environment | {
        "PATH": path,
        "ORCHESTRATOR_URL": "http://127.0.0.1:9",
        "HEALTH_ADDRESS": address,
        "ISOLATION_REQUIRED": "off",
    }
    with subprocess.Popen(
        ["bash", "-c", run.replace("bot-runner-worker", "exec bot-runner-worker")],
        cwd=tmp_path,
        env=environment,
    ) as worker:
        try:
            # Nothing but the orchestrator is missing, as soon as the worker knows its Engine.
            until_sync(
                lambda: [each.partition(":")[0] for each in not_ready(address)] == ["orchestrator"],
                60,
                lambda: f"the worker is ready but for the orchestrator: {not_ready(address)}",
            )
        finally:
            worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


def not_ready(address: str) -> list[str]:
    """Why a worker is not ready, unless it does not listen yet."""
    try:
        urllib.request.urlopen(f"http://{address}/ready", timeout=5)
    except urllib.error.HTTPError as error:
        reasons: list[str] = json.load(error)["reasons"]
        return reasons
    except OSError:
        pass
    return []
