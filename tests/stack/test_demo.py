"""`make demo` as a newcomer sees it: the whole stack, a real aiogram bot, and nothing left behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stack.test_up import MAY_CLOSE, rules_for

from bot_runner_stack.demo import GREETING, demo_namespace
from bot_runner_stack.firewall import bridge_prefix
from bot_runner_stack.repository import repository_root

pytestmark = pytest.mark.engine


def made_by_the_demo(kind: str) -> list[str]:
    """Names of what carries the label of this checkout's demos: kind is `ps -a`, `images` or `network ls`."""
    label = f"label=io.avtomatika.bot-runner.namespace={demo_namespace(repository_root())}"
    command = ["docker", *kind.split(), "--filter", label, "--format", "{{json .}}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [str(json.loads(line)) for line in answer.stdout.splitlines()]


def test_the_demo_shows_a_bot_from_its_start_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bot_runner_stack", "demo"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert "Traceback" not in result.stdout
    assert re.findall(r"^\[(\d)/9\]", result.stdout, re.MULTILINE) == list("123456789")
    assert f"user: {GREETING}\n      bot:  {GREETING}" in result.stdout
    for command in ("start echo --simple examples/echo_bot", "status echo", "logs echo", "stop echo"):
        assert f"$ bot-runner {command}" in result.stdout
    assert re.search(r"echo_bot: message from chat \d+: " + GREETING, result.stdout)
    # Where nobody may, it says so.
    assert ("its bots reach nothing of this machine but the emulator" in result.stdout) is MAY_CLOSE
    assert rules_for(bridge_prefix(demo_namespace(repository_root()), repository_root())) == []
    assert [made_by_the_demo(kind) for kind in ("ps -a", "images", "network ls")] == [[], [], []]
    assert [file.name for file in tmp_path.iterdir() if file.is_dir()] == []
