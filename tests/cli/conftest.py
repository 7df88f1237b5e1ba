"""Ways to run the command against the stand-in for the orchestrator."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.fake_orchestrator import CLIENT_TOKEN, FakeOrchestrator
from typer.testing import CliRunner, Result

from bot_runner_cli.main import app

Run = Callable[..., Result]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def orchestrator() -> Iterator[FakeOrchestrator]:
    fake = FakeOrchestrator()
    yield fake
    fake.close()


@pytest.fixture
def settings(orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which a user runs the command."""
    for name in ("AVTOMATIKA_URL", "AVTOMATIKA_TOKEN", "GIT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BOT_RUNNER_URL", orchestrator.url)
    monkeypatch.setenv("BOT_RUNNER_TOKEN", CLIENT_TOKEN)


@pytest.fixture
def run(settings: None) -> Run:
    """Run ``bot-runner`` in this process; a start watches only for a moment unless it says otherwise."""

    def invoke(*arguments: object, stdin: str | None = None) -> Result:
        words = [str(argument) for argument in arguments]
        if words and words[0] in ("start", "restart") and "--watch" not in words:
            words += ["--watch", "0.01"]
        return CliRunner().invoke(app, words, input=stdin)

    return invoke


@pytest.fixture
def spawn(settings: None) -> Iterator[Spawn]:
    """Run ``bot-runner`` as a process of its own, as a shell does."""
    processes: list[subprocess.Popen[str]] = []

    def popen(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "bot_runner_cli", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
            # A test run in the background ignores SIGINT, and would hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
        )
        processes.append(process)
        return process

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def bot_file(tmp_path: Path) -> Path:
    path = tmp_path / "bot.py"
    path.write_text("print('hello')\n")
    return path
