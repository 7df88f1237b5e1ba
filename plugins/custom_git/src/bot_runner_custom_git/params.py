"""What the source takes, and how it is checked."""

import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from bot_runner_custom_git.address import RepositoryAddress
from bot_runner_custom_git.errors import INVALID_GIT_REF
from bot_runner_worker.plugin import Rejected, StrictModel, checked_path
from bot_runner_worker.projects import checked_entrypoint

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-/.@]|[/.]$")


class GitParams(StrictModel):
    """Params of the mode ``custom``, source ``git``."""

    git_repo: str = Field(description="Address of the repository: https://host/path", max_length=2048)
    git_branch: str | None = Field(
        None,
        description="Branch, tag or full commit id; by default the remote's default branch",
        min_length=1,
        max_length=255,
    )
    git_subdir: str | None = Field(None, description="Folder of the repository that holds the project")
    git_token: SecretStr | None = Field(
        None,
        description="Access token of a private repository, or user:password",
        min_length=1,
        max_length=4096,
    )
    entrypoint: str | None = Field(None, description="Python file to run, for a project without a Dockerfile")

    @field_validator("git_branch")
    @classmethod
    def _ref(cls, value: str | None) -> str | None:
        # The rules of git-check-ref-format(1), and no name that could be taken for an option.
        if value is not None and (_FORBIDDEN_IN_REF.search(value) or not value.isprintable()):
            raise Rejected(
                INVALID_GIT_REF,
                "git_branch is no name of a branch, tag or commit.",
                hint="Give a branch such as main, a tag such as v1.0, or a commit id of 40 digits.",
            )
        return value

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

    @model_validator(mode="after")
    def _address(self) -> Self:
        self.address()
        return self

    def address(self) -> RepositoryAddress:
        """The repository's address, with the credentials apart.

        Raises:
            Rejected: ``INVALID_GIT_URL``.
        """
        token = None if self.git_token is None else self.git_token.get_secret_value()
        return RepositoryAddress.parse(self.git_repo, token)

    @property
    def commit(self) -> str | None:
        """The commit that ``git_branch`` names by its id."""
        return self.git_branch if self.git_branch and _COMMIT.fullmatch(self.git_branch) else None
