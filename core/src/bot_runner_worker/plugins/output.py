"""What a plugin may print and log while it is asked something: more than that ends its request."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.plugins.failures import HINT

LIMIT = 1024 * 1024
"""Characters for one call of a hook."""

_left: ContextVar[list[int] | None] = ContextVar("output_left", default=None)


@contextmanager
def limited_output(characters: int = LIMIT) -> Iterator[None]:
    """Count what is printed and logged by the code in the block, and by what it awaits."""
    token = _left.set([characters])
    try:
        yield
    finally:
        _left.reset(token)


def _spend(characters: int) -> None:
    left = _left.get()
    if left is None:
        return
    left[0] -= characters
    if left[0] < 0:
        raise Rejected(
            Code.PLUGIN_FAILED,
            f"The deployment plugin printed or logged more than {LIMIT >> 20} MiB.",
            hint=HINT,
            details={"limit_characters": LIMIT},
        )


class _Limited:
    """A stream that is given on as it is, except that plugins cannot flood it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        _spend(len(text))
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PluginLogLimit(logging.Filter):
    """For the handler of the log: counts the lines of plugins and of what they use, not the core's own."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _left.get() is not None and not record.name.startswith("bot_runner_worker"):
            _spend(len(str(record.msg)) + sum(len(str(each)) for each in _arguments(record)))
        return True


def _arguments(record: logging.LogRecord) -> list[Any]:
    if isinstance(record.args, dict):
        return list(record.args.values())
    return list(record.args or ())


@contextmanager
def standard_output_limited() -> Iterator[None]:
    """Hold plugins to their limit on standard output and error, while the block runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Limited(before[0]), _Limited(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
