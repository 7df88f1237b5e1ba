"""`make up` as its user sees it: a line to copy starts a bot, and Ctrl-C leaves the bot running."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bot_runner_stack import ports, repository
from bot_runner_stack.firewall import bridge_prefix

pytestmark = pytest.mark.engine

TO_COPY = re.compile(r"  (export BOT_RUNNER_URL=|\S*bot-runner start hello )")
MAY_CLOSE = os.geteuid() == 0 and shutil.which("iptables") is not None
LAST_LINE = "Ctrl-C ends the stack; bots that run go on running.\n"


def rules_for(prefix: str) -> list[str]:
    """The rules of this host that speak of these bridges."""
    if not MAY_CLOSE:
        return []
    listed = [
        subprocess.run([command, "-w", "-t", "mangle", "-S"], capture_output=True, text=True, timeout=20)
        for command in ("iptables", "ip6tables")
    ]
    return [rule for each in listed for rule in each.stdout.splitlines() if f" {prefix}+ " in rule]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """An environment for a stack of its own, whose bots are removed at the end."""
    namespace = f"up-{os.getpid()}"
    env = {
        **os.environ,
        "RUNNER_NAMESPACE": namespace,
        "DOCKER_NETWORK": f"bot-runner-{namespace}",
        "ISOLATION_REQUIRED": "on" if MAY_CLOSE else "off",
    }
    yield env
    remove_all = [str(repository.command("bot-runner-worker")), "remove-all", "--yes"]
    subprocess.run(remove_all, env=env, check=True, capture_output=True, timeout=60)


def test_the_printed_lines_start_a_bot_that_outlives_the_stack(environment: dict[str, str]) -> None:
    root = repository.repository_root()
    command = [sys.executable, "-m", "bot_runner_stack", "up", "--port", str(ports.free_port("127.0.0.1"))]
    prefix = bridge_prefix(environment["RUNNER_NAMESPACE"], root)
    assert rules_for(prefix) == []
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as stack:
        assert stack.stdout is not None
        shown: list[str] = []
        try:
            for line in stack.stdout:
                shown.append(line)
                if line == LAST_LINE:
                    break
            to_copy = "".join(filter(TO_COPY.match, shown))
            started = subprocess.run(
                ["bash", "-ec", to_copy],
                cwd=root,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert "hello runs" in started.stdout + started.stderr
            # Nobody but root may do that.
            assert bool(rules_for(prefix)) is MAY_CLOSE
        finally:
            stack.send_signal(signal.SIGINT)
        said = stack.stdout.read()

    assert stack.returncode == 0
    assert "1 bot goes on running" in said
    assert f"label=io.avtomatika.bot-runner.namespace={environment['RUNNER_NAMESPACE']}" in said
    assert "Traceback" not in "".join(shown) + said
    # As long as the bot runs, it stays closed off; the printed command ends that.
    if not MAY_CLOSE:
        return
    assert rules_for(prefix)
    [remove] = re.findall(r"^  (env .*bot-runner-worker firewall remove)$", said, re.MULTILINE)
    subprocess.run(["bash", "-ec", remove], cwd=root, check=True, capture_output=True, timeout=60)
    assert rules_for(prefix) == []
    assert (root / ".state" / "log" / "worker-1.log").exists()


def test_without_a_bot_the_host_is_left_as_it_was(environment: dict[str, str]) -> None:
    root = repository.repository_root()
    command = [sys.executable, "-m", "bot_runner_stack", "up", "--port", str(ports.free_port("127.0.0.1"))]
    prefix = bridge_prefix(environment["RUNNER_NAMESPACE"], root)
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as stack:
        assert stack.stdout is not None
        try:
            for line in stack.stdout:
                if line == LAST_LINE:
                    break
            rules_meanwhile = rules_for(prefix)
        finally:
            stack.send_signal(signal.SIGINT)
        said = stack.stdout.read()

    assert (stack.returncode, rules_for(prefix)) == (0, []), said
    assert bool(rules_meanwhile) is MAY_CLOSE
