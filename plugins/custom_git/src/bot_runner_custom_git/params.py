"""What the source takes, and how it is checked."""

from pydantic import Field, field_validator

from bot_runner_git import GitLocation
from bot_runner_worker.plugin import checked_path
from bot_runner_worker.projects import checked_entrypoint


class GitParams(GitLocation):
    """Params of the mode ``custom``, source ``git``."""

    git_subdir: str | None = Field(None, description="Folder of the repository that holds the project")
    entrypoint: str | None = Field(None, description="Python file to run, for a project without a Dockerfile")

    @field_validator("git_subdir")
    @classmethod
    def _subdir(cls, value: str | None) -> str | None:
        if value is None or value.strip("./") == "":
            return None
        return checked_path(value.rstrip("/"))

    @field_validator("entrypoint")
    @classmethod
    def _entrypoint(cls, value: str | None) -> str | None:
        return None if value is None else checked_entrypoint(value)
