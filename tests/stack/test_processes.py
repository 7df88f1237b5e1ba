"""A managed process says clearly what happened to it, and never outlives its end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bot_runner_stack.errors import StackError
from bot_runner_stack.processes import ManagedProcess
from bot_runner_worker.testing.waiting import until_sync

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
Make = Callable[[str], ManagedProcess]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that wraps a line of Python in a managed process."""

    def make_process(code: str) -> ManagedProcess:
        return ManagedProcess(
            "The example",
            [sys.executable, "-c", code],
            environment=dict(os.environ),
            log=tmp_path / "example.log",
            cwd=tmp_path,
        )

    return make_process


def said(process: ManagedProcess, text: str) -> Callable[[], "asyncio.Future[bool]"]:
    async def ready() -> bool:
        return text in process.log_tail()

    return lambda: asyncio.ensure_future(ready())


def exists(pid: int) -> bool:
    """Whether the process table holds `pid`: zombies count."""
    return Path(f"/proc/{pid}").exists()


async def test_it_is_ready_when_the_probe_says_so_and_ends_on_stop(make: Make) -> None:
    process = make("import time; print('up', flush=True); time.sleep(60)")
    process.start()
    await process.wait_until(said(process, "up"), seconds=10)
    assert process.running

    await process.stop()

    assert not process.running
    assert process.exit_code == -signal.SIGTERM
    assert not exists(process.pid)


async def test_one_that_dies_early_is_reported_with_its_last_words(make: Make) -> None:
    process = make("import sys; print('first'); sys.exit('WORKER_TOKEN is not set')")
    process.start()

    with pytest.raises(StackError) as caught:
        await process.wait_until(said(process, "never said"), seconds=10)

    assert str(caught.value) == "The example ended with exit code 1."
    assert caught.value.log_tail.splitlines()[-1] == "WORKER_TOKEN is not set"
    assert not exists(process.pid)


async def test_one_that_is_never_ready_is_given_up(make: Make) -> None:
    process = make("import time; time.sleep(60)")
    process.start()
    try:
        with pytest.raises(StackError, match=r"The example was not ready after 0 s\."):
            await process.wait_until(said(process, "never said"), seconds=0.2)
    finally:
        await process.stop()


async def test_a_stubborn_one_is_killed_after_the_grace_time(make: Make) -> None:
    process = make(STUBBORN)
    process.start()
    await process.wait_until(said(process, "up"), seconds=10)

    await process.stop(grace_seconds=0.3)

    assert process.exit_code == -signal.SIGKILL
    assert not exists(process.pid)


async def test_a_stubborn_one_is_killed_when_its_stop_is_cancelled(make: Make) -> None:
    process = make(STUBBORN)
    process.start()
    await process.wait_until(said(process, "up"), seconds=10)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.stop(grace_seconds=60), 0.2)

    assert not exists(process.pid)


async def test_it_can_be_started_again_and_its_log_goes_on(make: Make) -> None:
    process = make("print('hello')")
    for _ in range(2):
        process.start()
        assert await process.wait() == 0

    assert process.log_tail().splitlines() == ["hello", "hello"]


def test_a_missing_program_is_one_sentence(tmp_path: Path) -> None:
    process = ManagedProcess(
        "The example", ["/nowhere/x"], environment={}, log=tmp_path / "log", cwd=tmp_path
    )

    with pytest.raises(StackError, match=r"The example cannot be started: /nowhere/x is missing\."):
        process.start()


async def test_ctrl_c_at_the_terminal_does_not_reach_it(make: Make) -> None:
    process = make("import time; time.sleep(60)")
    process.start()
    try:
        assert os.getpgid(process.pid) == process.pid
    finally:
        await process.stop()


def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent_code = f"""
import os, sys, time
from pathlib import Path
from bot_runner_stack.processes import ManagedProcess
process = ManagedProcess("child", [sys.executable, "-uc", "import time; print('up'); time.sleep(60)"],
                         environment=dict(os.environ), log=Path({str(tmp_path / "log")!r}), cwd=Path("/"))
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        # It asks the kernel for that before it becomes the command.
        until_sync(lambda: "up" in (tmp_path / "log").read_text(), what="the command's first word")
        parent.kill()

    until_sync(lambda: not exists(child) or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text())
