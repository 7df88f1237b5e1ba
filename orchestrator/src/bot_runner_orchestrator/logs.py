"""Logging of the process: to stderr, quiet unless asked."""

import logging
import sys

from avtomatika.logging_config import TimezoneFormatter, TimezoneJsonFormatter

from .settings import Settings

_OURS = ("avtomatika", "rxon", "bot_runner_orchestrator")
# Avtomatika warns of defaults that we set on purpose.
_EXPECTED_WARNINGS = ("CLIENTS_CONFIG_PATH is not set", "WORKERS_CONFIG_PATH is not set", "Using default ")


def configure_logging(settings: Settings) -> None:
    """Replace all handlers by one on stderr.

    ``LOG_LEVEL`` holds for Avtomatika and for us. Other libraries are never let below ``WARNING``: their
    lines may quote requests.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        TimezoneJsonFormatter("%(asctime)s %(name)s %(levelname)s %(message)s")
        if settings.log_format == "json"
        else TimezoneFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    handler.addFilter(lambda record: not str(record.msg).startswith(_EXPECTED_WARNINGS))
    level = logging.getLevelNamesMapping()[settings.log_level]
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.setLevel(level)
