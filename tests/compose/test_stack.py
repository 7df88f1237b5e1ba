"""`make stack`: the file is brought up, used, restarted piece by piece and taken down without a trace."""

import json
import os
import re
import subprocess
import sys

import pytest
from tests.images.docker_cli import REPOSITORY

from bot_runner_stack.compose.check import project_name

pytestmark = pytest.mark.compose

NAME = project_name(REPOSITORY)
CLIENTS = ("bot-runner", "tg-runner")


def make_stack(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run what the target runs."""
    return subprocess.run(
        [sys.executable, "-m", "bot_runner_stack", "compose"],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **environment},
    )


def left_behind() -> list[str]:
    """What is still on the Engine or in the checkout."""
    found = [str(path) for path in (REPOSITORY / ".state").glob("stack*")]
    for label in (f"com.docker.compose.project={NAME}", f"io.avtomatika.bot-runner.namespace={NAME}"):
        for kind in ("ps --all", "network ls", "volume ls", "image ls"):
            command = ["docker", *kind.split(), "--filter", f"label={label}", "--format", "{{json .}}"]
            answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
            found += [str(json.loads(line)) for line in answer.stdout.splitlines()]
    return found


def test_the_stack_serves_both_clients_and_survives_the_restart_of_each_service() -> None:
    result = make_stack()

    said = result.stdout
    assert result.returncode == 0, said + result.stderr
    assert result.stderr == ""
    assert re.findall(r"^\[(\d)/9\]", said, re.MULTILINE) == list("123456789")
    for client in CLIENTS:
        for source in ("--simple", "--git https://", "--custom https://", r"--custom \.state", "--image"):
            assert re.search(rf"\$ {client} start \w+ {source}", said), (client, source)
    assert said.count("10 bots ran on") == 3
    assert re.search(r"^The stack is through in \d+ s\.$", said, re.MULTILINE)
    assert left_behind() == []


def test_a_service_that_does_not_come_up_says_why_and_leaves_nothing() -> None:
    result = make_stack(RATE_LIMIT_LIMIT="many")

    assert result.returncode == 1
    assert "\nerror: docker" in result.stdout
    assert "RATE_LIMIT_LIMIT is wrong" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert left_behind() == []
