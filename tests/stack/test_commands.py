"""`python -m bot_runner_stack`: what its user sees when something is in the way, and on Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bot_runner_stack.commands import run_command
from bot_runner_stack.errors import StackError

STACK = [sys.executable, "-m", "bot_runner_stack"]


def run(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    base = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [*STACK, *arguments], cwd=cwd, env=base | (env or {}), capture_output=True, text=True, timeout=60
    )


def test_up_on_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        result = run("up", "--port", port, cwd=tmp_path)

    assert result.returncode == 1
    assert result.stdout.startswith(
        f"error: Port {port} on 127.0.0.1 cannot be used (Address already in use)"
    )
    assert result.stdout.endswith("choose another port with --port or API_PORT.\n")
    assert result.stderr == ""


def test_up_with_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    result = run("up", cwd=tmp_path, env={"API_PORT": "eighty"})

    assert result.returncode == 1
    assert result.stdout.startswith("error: API_PORT: ")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_demo_without_an_engine_is_one_sentence(tmp_path: Path) -> None:
    result = run("demo", cwd=tmp_path, env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})

    assert result.returncode == 1
    assert "error: The Docker Engine does not answer" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_how_a_server_ends(tmp_path: Path, number: signal.Signals) -> None:
    command = [*STACK, "telegram", "--host", "127.0.0.1", "--port", "0", "--control-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("Bot API  http://127.0.0.1:")
        assert process.stdout.readline().startswith("control  http://127.0.0.1:")
        process.send_signal(number)

        assert process.wait(10) == 0
        assert process.stderr.read() == ""


async def test_a_command_that_fails_is_told_with_what_it_printed(tmp_path: Path) -> None:
    seen: list[str] = []
    code = "import sys; print('working'); sys.exit('no such bot')"

    with pytest.raises(StackError, match=r"ended with exit code 1\.") as caught:
        await run_command(
            [sys.executable, "-u", "-c", code], env={}, cwd=tmp_path, seconds=30, on_line=seen.append
        )

    assert seen == ["working", "no such bot"]
    assert caught.value.log_tail == "working\nno such bot"


async def test_a_command_that_hangs_is_killed(tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    seen: list[str] = []

    with pytest.raises(StackError, match=r"took longer than 1 s\."):
        await run_command([sys.executable, "-c", code], env={}, cwd=tmp_path, seconds=1, on_line=seen.append)

    with pytest.raises(ProcessLookupError):
        os.kill(int(seen[0]), 0)
