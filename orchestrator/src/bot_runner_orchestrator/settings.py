"""The orchestrator's settings, from the environment or a ``.env`` file in the working directory.

Names are Avtomatika's own where it has one. Its other settings (TLS, ``REDIS_STREAM_BLOCK_MS`` and so on) are
still read from the environment by Avtomatika itself.
"""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import SetupError


class Settings(BaseSettings):
    """One orchestrator's settings; each field is read from the variable of its upper-case name."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    api_host: str = Field("0.0.0.0", description="Address to listen on")  # noqa: S104 - the seed's default
    api_port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one")

    client_token: SecretStr | None = Field(
        None, description="Token of the one client; not needed if CLIENTS_CONFIG_PATH is set"
    )
    client_user_id: str = Field("default", description="User that the client of CLIENT_TOKEN acts for")
    client_may_act_for_others: bool = Field(
        False, description="Whether that client may name any other user_id"
    )
    clients_config_path: Path | None = Field(None, description="TOML file with one table per client")
    global_worker_token: SecretStr = Field(
        validation_alias=AliasChoices("GLOBAL_WORKER_TOKEN", "WORKER_TOKEN"),
        description="Token that workers show; WORKER_TOKEN is accepted too",
    )

    storage: Literal["memory", "redis"] | None = Field(
        None, description="Where jobs are kept; redis if REDIS_HOST is set, else memory"
    )
    redis_host: str | None = Field(None, description="Redis server")
    redis_port: int = Field(6379, description="Port of the Redis server")
    redis_db: int = Field(0, description="Database number of the Redis server")
    redis_password: SecretStr | None = Field(None, description="Password of the Redis server")
    history_database_uri: str = Field(
        "", description="Where the history of jobs goes: sqlite:/absolute/path or postgresql://…"
    )
    job_retention_hours: PositiveFloat = Field(24, description="Finished jobs can be read for this long")

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

    max_request_mb: PositiveInt = Field(64, description="Largest request, an archive in base64 included")
    rate_limit_limit: PositiveInt = Field(
        6000, description="Requests per client address and path (and per worker) in RATE_LIMIT_PERIOD"
    )
    rate_limit_period: PositiveInt = Field(60, description="Seconds that the limit is counted over")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "WARNING", description="What is logged, on stderr; params of tasks never are"
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines")

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
    if settings.client_token is None and settings.clients_config_path is None:
        raise SetupError(
            "CLIENT_TOKEN is not set: choose the token that clients show, or name a file of clients in "
            "CLIENTS_CONFIG_PATH"
        )
    if settings.storage_kind == "redis" and not settings.redis_host:
        raise SetupError("REDIS_HOST is not set, and STORAGE=redis needs it")
    return settings


def _complaint(error: object) -> str:
    assert isinstance(error, dict)
    name = str(error["loc"][0]).upper() if error["loc"] else "settings"
    if error["type"] == "missing":
        return f"{name} is not set: choose the token that workers show (their WORKER_TOKEN)"
    return f"{name} is wrong: {error['msg']}"
