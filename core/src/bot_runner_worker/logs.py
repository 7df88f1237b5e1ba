"""Logging: one handler on the root logger, and no secret of a running task in any line or traceback."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from bot_runner_worker.redaction import Redactor, without_controls
from bot_runner_worker.settings import Settings

# Not a context variable: a secret may turn up in a line that a library logs from a task of its own.
_active: set[Redactor] = set()


QUIET = ("aiohttp", "aiodocker", "asyncio", "git", "httpcore", "httpx")
"""aiohttp logs each access and aiodocker each call: too much below warnings. httpcore logs headers."""


@contextmanager
def hide_secrets(redactor: Redactor) -> Iterator[None]:
    """Blank out these secrets in each log line while the block runs."""
    _active.add(redactor)
    try:
        yield
    finally:
        _active.discard(redactor)


MAX_LINE = 64 * 1024
"""Characters of one message, its traceback included."""


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) > MAX_LINE:
            text = f"{text[:MAX_LINE]} … ({len(text)} characters in all)"
        for redactor in tuple(_active):
            text = redactor.text(text)
        return without_controls(text)


class _JsonFormatter(_Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return record.message

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
                "level": record.levelname,
                "logger": record.name,
                "message": super().format(record),
            },
            ensure_ascii=False,
        )


def set_up_logging(settings: Settings) -> None:
    """Log to standard error as the settings say; the SDK's own handlers are replaced."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonFormatter()
        if settings.log_format == "json"
        else _Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
