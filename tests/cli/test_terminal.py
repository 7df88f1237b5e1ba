"""What only shows on a terminal, in a pipe of another encoding, or in the command as installed."""

import contextlib
import json
import os
import pty
import sys

import pytest
from tests.cli.conftest import Spawn
from tests.cli.fake_orchestrator import STARTED, FakeOrchestrator, finished, logs, running

from bot_runner_cli.main import main


def on_a_terminal(*arguments: str, types: str = "", at: str = "") -> tuple[int, str]:
    """Run the command on a pseudo-terminal; type something when it shows ``at``."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="100")
        os.execv(sys.executable, [sys.executable, "-m", "bot_runner_cli", *arguments])
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while piece := os.read(terminal, 65536):
            shown += piece
            if types and at in shown.decode(errors="replace"):
                os.write(terminal, types.encode())
                types = ""
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


def test_a_password_is_asked_for_and_not_shown(settings: None, orchestrator: FakeOrchestrator) -> None:
    code, shown = on_a_terminal(
        *("start", "shop", "--image", "r.example.com/x", "--registry-user", "me", "--watch", "0"),
        types="correct horse\n",
        at="Password of me",
    )
    assert code == 0, shown
    assert orchestrator.started["registry_auth"] == {"username": "me", "password": "correct horse"}
    assert "correct horse" not in shown


def test_stages_are_shown_beside_a_spinner(settings: None, orchestrator: FakeOrchestrator) -> None:
    looks = [running("Installing packages", 0.42)] * 4 + [running("Starting the container")]
    orchestrator.answers("start", *looks, STARTED)
    code, shown = on_a_terminal("start", "shop", "--image", "x", "--watch", "0")
    assert code == 0
    assert "Installing packages (42%)" in shown
    assert "· Installing packages" in shown
    assert "shop" in shown.splitlines()[-1]


def test_a_bots_log_cannot_take_over_the_terminal(settings: None, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("\x1b[31mred\x1b[0m \x1b]0;owned\x07\x1b[2J\x9b2J\u202etext\r\n"))
    _, shown = on_a_terminal("logs", "shop")
    assert "\x1b[31mred\x1b[0m" in shown
    assert "\x1b]0" not in shown
    for hostile in ("\x1b[2J", "\x9b", "\u202e"):
        assert hostile not in shown
    assert "text" in shown


def test_a_pipe_gets_the_log_unchanged(spawn: Spawn, orchestrator: FakeOrchestrator) -> None:
    orchestrator.answers("logs", logs("\x1b]0;title\x07 😀\n"))
    stdout, _ = spawn("logs", "shop").communicate(timeout=20)
    assert stdout == "\x1b]0;title\x07 😀\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_valid_in_any_encoding(spawn: Spawn, orchestrator: FakeOrchestrator, encoding: str) -> None:
    orchestrator.answers("logs", logs("привет é 😀 \ud800\n"))
    process = spawn("logs", "shop", "--json", PYTHONIOENCODING=encoding)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    assert json.loads(stdout)["logs"] == "привет é 😀 \ud800\n"


@pytest.mark.parametrize("arguments", [("logs", "shop"), ("list",)])
def test_texts_are_printed_in_any_encoding(
    spawn: Spawn, orchestrator: FakeOrchestrator, arguments: tuple[str, ...]
) -> None:
    orchestrator.answers("logs", logs("привет\n"))
    row = {"bot_id": "магазин", "status": "running"}
    orchestrator.answers("list", finished(bots=[row], count=1, max_bots=3))
    process = spawn(*arguments, PYTHONIOENCODING="ascii")
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "arguments", [("nosuch",), ("start",), ("logs", "shop", "-n", "x"), ("list", "--nosuch")]
)
def test_mistakes_in_usage_are_json_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bot-runner", "--json", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "USAGE"


def test_mistakes_in_usage_are_exit_code_2(spawn: Spawn) -> None:
    process = spawn("list", "--nosuch")
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (2, "")
    assert "--nosuch" in stderr
