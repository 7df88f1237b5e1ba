"""The orchestrator's settings, from the environment or a ``.env`` file in the working directory.

Names are Avtomatika's own where it has one. Its other settings (``REDIS_STREAM_BLOCK_MS`` and so on) are
still read from the environment by Avtomatika itself.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import (
    AliasChoices,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from yarl import URL

from .errors import SetupError
from .webhook import DEFAULT_SELECTION, EventSelection, Signer


class Settings(BaseSettings):
    """One orchestrator's settings; each field is read from the variable of its upper-case name."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    api_host: str = Field("0.0.0.0", description="Address to listen on")  # noqa: S104 - the seed's default
    api_port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    tls_enabled: bool = Field(False, description="Whether to speak HTTPS")
    tls_cert_path: Path | None = Field(
        None, description="The certificate and its chain, PEM; needed for TLS_ENABLED"
    )
    tls_key_path: Path | None = Field(None, description="The certificate's key, PEM; needed for TLS_ENABLED")
    tls_ca_path: Path | None = Field(
        None, description="CA of client certificates; their names are the workers' ids"
    )
    tls_require_client_cert: bool = Field(
        False, description="Whether everybody, clients too, must have a certificate of that CA"
    )

    client_token: SecretStr | None = Field(
        None, description="Token of the one client; not needed if CLIENTS_CONFIG_PATH is set"
    )
    client_user_id: str = Field("default", description="User that the client of CLIENT_TOKEN acts for")
    client_may_act_for_others: bool = Field(
        False, description="Whether that client may name any other user_id"
    )
    client_requests_per_minute: NonNegativeInt = Field(
        6000, description="Requests of a client without requests_per_minute of its own; 0 for no limit"
    )
    clients_config_path: Path | None = Field(None, description="TOML file with one table per client")
    global_worker_token: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("GLOBAL_WORKER_TOKEN", "WORKER_TOKEN"),
        description="Token of all workers without one of their own; WORKER_TOKEN is accepted too",
    )
    workers_config_path: Path | None = Field(
        None, description="TOML file with one table per worker that has a token of its own"
    )

    storage: Literal["memory", "redis"] | None = Field(
        None, description="Where jobs are kept; redis if REDIS_HOST is set, else memory"
    )
    redis_host: str | None = Field(None, description="Redis server")
    redis_port: int = Field(6379, description="Port of the Redis server")
    redis_db: int = Field(0, description="Database number of the Redis server")
    redis_password: SecretStr | None = Field(None, description="Password of the Redis server")
    history_database_uri: str = Field(
        "sqlite:bot-runner-history.sqlite",
        description="Where the history of jobs and bots goes: sqlite:/path, postgresql://… or none",
    )
    history_retention_days: PositiveInt = Field(
        30, description="What is older leaves the history in SQLite; in PostgreSQL nothing does"
    )
    history_max_mb: PositiveInt = Field(
        1024, description="Size of the history in SQLite; what is oldest leaves it first"
    )
    job_retention_hours: PositiveFloat = Field(24, description="Finished jobs can be read for this long")
    logs_retention_minutes: PositiveFloat = Field(
        5, description="The same for logs of bots, of which each client has the latest 50"
    )

    worker_wait_seconds: float = Field(
        20, ge=0, le=50, description="A job waits this long for a worker before NO_WORKER_AVAILABLE"
    )
    worker_ttl_seconds: PositiveInt = Field(
        40, description="A worker without a heartbeat for this long is gone; its tasks are given out again"
    )
    start_timeout_seconds: PositiveInt = Field(
        900, description="Time for start and restart, once a worker has them (and before that, in its queue)"
    )
    task_timeout_seconds: PositiveInt = Field(120, description="The same for all other actions")
    retry_attempts: int = Field(
        3, ge=1, le=10, description="Times a task is given out while workers report a fault of their own"
    )
    retry_delay_seconds: float = Field(
        2, ge=0, le=30, description="Wait before the second time; it doubles, up to 30"
    )

    events_webhook_url: SecretStr | None = Field(None, description="Where events of bots are sent by POST")
    events_webhook_secret: SecretStr | None = Field(
        None, description="Key of their signatures; needed for EVENTS_WEBHOOK_URL"
    )
    events_webhook_types: str = Field(
        DEFAULT_SELECTION,
        description="Which events are sent; NAME:reason are those with a reason, all is all",
    )

    max_request_mb: PositiveInt = Field(64, description="Largest request, an archive in base64 included")
    max_requests_mb: PositiveInt = Field(
        256, description="All large requests under way together; one client has half of it"
    )
    rate_limit_limit: PositiveInt = Field(
        6000, description="Requests per client address and path (and per worker) in RATE_LIMIT_PERIOD"
    )
    rate_limit_period: PositiveInt = Field(60, description="Seconds that the limit is counted over")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "WARNING", description="What is logged, on stderr; params of tasks never are"
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines")

    @field_validator("events_webhook_types")
    @classmethod
    def _known_types(cls, value: str) -> str:
        EventSelection.parse(value)
        return value

    @field_validator("events_webhook_url")
    @classmethod
    def _http_url(cls, value: SecretStr | None) -> SecretStr | None:
        url = URL(value.get_secret_value()) if value else None
        if url is not None and (url.scheme not in ("http", "https") or not url.host):
            raise ValueError("it must look like https://host/path")
        return value

    @field_validator("events_webhook_secret")
    @classmethod
    def _usable_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            Signer(value.get_secret_value())
        return value

    @field_validator("history_database_uri")
    @classmethod
    def _known_history(cls, value: str) -> str:
        if value != "none" and not value.startswith(("sqlite:", "postgresql:")):
            raise ValueError("it must begin with sqlite: or postgresql:, or be none")
        return value

    @property
    def storage_kind(self) -> Literal["memory", "redis"]:
        """The storage in use, after the default that depends on ``REDIS_HOST``."""
        return self.storage or ("redis" if self.redis_host else "memory")


def environment_names(field: str) -> tuple[str, ...]:
    """The environment variables that ``field`` is read from, the preferred one first."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (field.upper(),)


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SetupError: One line that names each missing or wrong variable; it never contains a value.
    """
    try:
        settings = Settings()
    except ValidationError as exc:
        raise SetupError("; ".join(_complaint(error) for error in exc.errors())) from exc
    for complaint in _contradictions(settings):
        raise SetupError(complaint)
    return settings


def _contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong with the settings as a whole."""
    if settings.client_token is None and settings.clients_config_path is None:
        yield (
            "CLIENT_TOKEN is not set: choose the token that clients show, or name a file of clients in "
            "CLIENTS_CONFIG_PATH"
        )
    if settings.global_worker_token is None and settings.workers_config_path is None:
        yield (
            "GLOBAL_WORKER_TOKEN is not set: choose the token that workers show (their WORKER_TOKEN), or "
            "name a file of workers in WORKERS_CONFIG_PATH"
        )
    if settings.storage_kind == "redis" and not settings.redis_host:
        yield "REDIS_HOST is not set, and STORAGE=redis needs it"
    if settings.tls_enabled and not (settings.tls_cert_path and settings.tls_key_path):
        yield "TLS_CERT_PATH or TLS_KEY_PATH is not set, and TLS_ENABLED needs both"
    if settings.tls_require_client_cert and not settings.tls_ca_path:
        yield "TLS_CA_PATH is not set, and TLS_REQUIRE_CLIENT_CERT needs it"
    if settings.events_webhook_url and not settings.events_webhook_secret:
        yield (
            "EVENTS_WEBHOOK_SECRET is not set, and EVENTS_WEBHOOK_URL needs it: with it the receiver "
            "checks that events are genuine"
        )


def _complaint(error: object) -> str:
    assert isinstance(error, dict)
    name = str(error["loc"][0]).upper() if error["loc"] else "settings"
    return f"{name} is wrong: {str(error['msg']).removeprefix('Value error, ')}"
