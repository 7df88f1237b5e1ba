"""A long-running child process: its log file, its readiness, its end.

It works with any event loop or several (a process that a session-wide test fixture starts outlives the loop
of a single test), which is why it watches a `subprocess.Popen` instead of asyncio's own child processes.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from bot_runner_stack.errors import StackError

_CHECK_SECONDS = 0.05
_TAIL_LINES = 20


class ManagedProcess:
    """A child process with its output in a log file.

    `name` begins sentences about it ("The worker"). `environment` is the whole environment of the child.
    It can be started again after it ended; the log file is then continued.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log: Path,
        cwd: Path,
    ) -> None:
        self.name = name
        self.environment = dict(environment)
        self.log = log
        self._command = [str(part) for part in command]
        self._cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises StackError if the process was never started."""
        if self._popen is None:
            raise StackError(f"{self.name} was not started.")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended. An ended one is reaped here."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs or before it was started."""
        return None if self._popen is None else self._popen.poll()

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The log's last lines; empty if there is no log yet."""
        if not self.log.exists():
            return ""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=lines)).rstrip()

    def start(self) -> None:
        """Start the process. Raises StackError if its program is missing."""
        if shutil.which(self._command[0]) is None:
            raise StackError(f"{self.name} cannot be started: {self._command[0]} is missing.")
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*_end_with_parent(), *self._command],
                cwd=self._cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C at the terminal reaches us alone; we end things in order.
                process_group=0,
            )

    async def wait_until(self, ready: Callable[[], Awaitable[bool]], *, seconds: float) -> None:
        """Wait until `ready()` is true. Raises StackError if the process ends first or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    self.ensure_running()
                    if await ready():
                        return
                    await asyncio.sleep(_CHECK_SECONDS)
        raise StackError(f"{self.name} was not ready after {seconds:.0f} s.", log_tail=self.log_tail())

    async def wait(self) -> int:
        """Wait until the process ends by itself, and return its exit code."""
        while self.running:  # noqa: ASYNC110  (a Popen has no event to wait for)
            await asyncio.sleep(_CHECK_SECONDS)
        assert self.exit_code is not None
        return self.exit_code

    def ensure_running(self) -> None:
        """Raise StackError if the process has ended."""
        if not self.running:
            raise self.ended()

    def ended(self) -> StackError:
        """The error to raise about a process that ended when it should not."""
        code = self.exit_code
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return StackError(f"{self.name} ended with {how}.", log_tail=self.log_tail())

    async def stop(self, *, grace_seconds: float = 10) -> None:
        """End the process with SIGTERM; with SIGKILL after `grace_seconds`, or if we are cancelled."""
        if self._popen is None:
            return
        try:
            if self.running:
                self._popen.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wait(), grace_seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process with SIGKILL at once, if it still runs, and reap it."""
        if self._popen is not None and self.running:
            self._popen.kill()
            self._popen.wait()


def _end_with_parent() -> list[str]:
    """A prefix that lets the kernel end the child if we are killed without a chance to do it ourselves.

    setpriv (util-linux) sets PR_SET_PDEATHSIG and becomes the command: the process id stays. Where it is
    missing, the child is simply not protected.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv and os.name == "posix" else []
