"""Avtomatika's configuration and logging, from our settings."""

import logging
import sys
from typing import Any

from avtomatika.config import Config
from avtomatika.logging_config import TimezoneFormatter, TimezoneJsonFormatter

from .errors import SetupError
from .settings import Settings

WATCH_SECONDS = 2
"""Between two looks for lost tasks and workers."""

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


def make_config(settings: Settings) -> Config:
    """Avtomatika's configuration: its own reading of the environment, then what we know better.

    Raises:
        SetupError: A variable that Avtomatika itself reads is wrong.
    """
    try:
        config = Config()
    except ValueError as exc:
        raise SetupError(str(exc)) from exc
    values: dict[str, Any] = {
        "API_HOST": settings.api_host,
        "API_PORT": settings.api_port,
        # Clients come from our own directory; an empty token turns Avtomatika's way of accepting one off.
        "CLIENT_TOKEN": "",
        "CLIENTS_CONFIG_PATH": "",
        # Nor do workers' tokens; an empty one that all share is never accepted.
        "WORKERS_CONFIG_PATH": "",
        "REDIS_ENCRYPTION_KEY": None,
        "GLOBAL_WORKER_TOKEN": (
            settings.global_worker_token.get_secret_value() if settings.global_worker_token else ""
        ),
        "TLS_ENABLED": settings.tls_enabled,
        "TLS_CERT_PATH": str(settings.tls_cert_path or ""),
        "TLS_KEY_PATH": str(settings.tls_key_path or ""),
        "TLS_CA_PATH": str(settings.tls_ca_path or ""),
        "TLS_REQUIRE_CLIENT_CERT": settings.tls_require_client_cert,
        "HISTORY_DATABASE_URI": ""
        if settings.history_database_uri == "none"
        else settings.history_database_uri,
        "LOG_LEVEL": settings.log_level,
        "CLIENT_API_PREFIX": "api",
        "ENABLE_CLIENT_API": True,
        "DETAILED_API_RESPONSES": False,
        "RATE_LIMIT_LIMIT": settings.rate_limit_limit,
        "RATE_LIMIT_POLL_LIMIT": settings.rate_limit_limit,
        "RATE_LIMIT_HEARTBEAT_LIMIT": settings.rate_limit_limit,
        "RATE_LIMIT_PERIOD": settings.rate_limit_period,
        "WATCHER_INTERVAL_SECONDS": WATCH_SECONDS,
        # Avtomatika keeps a worker for twice this long after its last heartbeat.
        "WORKER_HEALTH_CHECK_INTERVAL_SECONDS": max(1, settings.worker_ttl_seconds // 2),
        # A reputation that only ever rises says nothing, and each update would take the worker's expiry away.
        "REPUTATION_REWARD_SUCCESS": 0.0,
    }
    for name, value in values.items():
        assert hasattr(config, name), f"Avtomatika has no setting {name}"
        setattr(config, name, value)
    return config
