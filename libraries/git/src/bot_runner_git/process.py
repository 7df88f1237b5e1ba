"""One git process: minimal environment, bounded output and time, its whole group killed at the end."""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import Popen, TimeoutExpired

from git import Git
from git.exc import GitCommandNotFound

from bot_runner_git.errors import GIT_FAILED, of_git, too_large
from bot_runner_worker.plugin import Unavailable, format_size
from bot_runner_worker.projects import Deadline

OLDEST_GIT = (2, 37, 0)
"""The first with http.curloptResolve: an older one would dial an address that was never checked."""

_CHUNK = 64 * 1024
_WORDS = 8 * 1024
_MEMORY = 768 * 1024**2
"""Address space of one git process: a pack of a few bytes may describe an object of any size."""
_BLOCK = 512
"""Bytes in a unit of ``ulimit -f`` (POSIX)."""
_LIMITED = 'ulimit -f "$1"; ulimit -v "$2"; shift 2; exec "$@"'
"""Sets the limits before git begins; the helpers that it starts inherit them."""
_TICK = 0.25
_INHERITED = frozenset({"PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR"})


class GitProcess:
    """A running git process, read like a file; use it as a context manager.

    Args:
        folder: Where it runs.
        arguments: After ``git``; fixed words, and checked values behind ``--`` only.
        environment: All that it gets besides ``PATH`` and the machine's CA settings.
        max_file_size: Largest file that it may write, in bytes.
        deadline: Checked several times a second.
        watch: Called as often; raises to end the process.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        max_file_size: int,
        deadline: Deadline,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._deadline = deadline
        self._watch = watch
        self._words = b""
        # GitPython hands down the worker's whole environment, its token included: "env" takes out the rest.
        unwanted = [
            word for name in os.environ.keys() - _INHERITED - environment.keys() for word in ("-u", name)
        ]
        limited = ("sh", "-c", _LIMITED, "sh", str(max_file_size // _BLOCK), str(_MEMORY // 1024))
        try:
            # A session of its own: helpers that git starts die with it.
            self._guard = Git(folder).execute(
                [*limited, "env", *unwanted, "git", *arguments],
                as_process=True,
                env=dict(environment),
                start_new_session=True,
            )
        except GitCommandNotFound as error:
            raise Unavailable(
                GIT_FAILED, "Git is not installed on the worker.", hint="This is for the operator."
            ) from error
        process: Popen[bytes] | None = self._guard.proc
        assert process is not None
        self._process = process
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._output: int | None = self._process.stdout.fileno()
        self._errors: int | None = self._process.stderr.fileno()

    def __enter__(self) -> "GitProcess":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes of its output; nothing at the end.

        Raises:
            Rejected: If the time is over or ``watch`` says so.
        """
        while self._output is not None:
            streams = [stream for stream in (self._output, self._errors) if stream is not None]
            ready, _, _ = select.select(streams, [], [], _TICK)
            self._deadline.check()
            self._watch()
            if self._errors in ready:
                self._read_errors()
            if self._output in ready:
                data = os.read(self._output, _CHUNK if size < 0 else min(size, _CHUNK))
                if not data:
                    self._output = None
                return data
        return b""

    def _read_errors(self) -> None:
        assert self._errors is not None
        data = os.read(self._errors, _CHUNK)
        # The server may write without end here: its last words are enough.
        self._words = (self._words + data)[-_WORDS:]
        if not data:
            self._errors = None

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            Rejected: With the code that fits git's words, if it failed.
            Unavailable: If the network or the server failed.
        """
        while self.read():
            pass
        while self._errors is not None:
            self._deadline.check()
            if select.select([self._errors], [], [], _TICK)[0]:
                self._read_errors()
        while self._process.poll() is None:
            self._deadline.check()
            with contextlib.suppress(TimeoutExpired):
                self._process.wait(_TICK)
        if self._process.returncode:
            raise of_git(self._words.decode(errors="replace"))

    def all_output(self, limit: int) -> str:
        """Its whole output as text.

        Raises:
            Rejected: Like :meth:`finish`; also if there are more than ``limit`` bytes.
        """
        output = b""
        while data := self.read():
            output += data
            if len(output) > limit:
                raise too_large(f"a listing of {format_size(limit)}")
        self.finish()
        return output.decode(errors="replace")
