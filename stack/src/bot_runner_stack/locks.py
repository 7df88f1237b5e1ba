"""One run at a time, across processes."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot_runner_stack.errors import StackError


@contextmanager
def exclusive(name: str, *, busy: str) -> Iterator[None]:
    """Hold the lock `name` of this machine. Raises StackError with the sentence `busy` if another holds it.

    The kernel gives the lock back when its holder ends, however it ends.
    """
    with (Path(tempfile.gettempdir()) / f"bot-runner-{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(busy) from None
        yield
