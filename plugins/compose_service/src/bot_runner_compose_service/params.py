"""What the mode takes, and how it is checked."""

from pydantic import Field, field_validator

from bot_runner_git import GitLocation
from bot_runner_worker.plugin import checked_path


class ComposeParams(GitLocation):
    """Params of the mode ``compose``."""

    compose_file: str | None = Field(
        None,
        description="Path of the Compose file in the repository; by default compose.yaml or "
        "docker-compose.yml at its root",
    )
    service: str | None = Field(
        None,
        description="The service to run; may be left out if the file has only one",
        min_length=1,
        max_length=128,
    )

    @field_validator("compose_file")
    @classmethod
    def _file(cls, value: str | None) -> str | None:
        return None if value is None else checked_path(value)
