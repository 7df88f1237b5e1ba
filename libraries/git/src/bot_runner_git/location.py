"""Which repository, and what of it: the fields that requests of all Git sources share."""

import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from bot_runner_git.address import RepositoryAddress
from bot_runner_git.errors import INVALID_GIT_REF
from bot_runner_worker.plugin import Rejected, StrictModel

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-/.@]|[/.]$")


class GitLocation(StrictModel):
    """A repository and a name in it; the params of a source derive from it and add their own."""

    git_repo: str = Field(description="Address of the repository: https://host/path", max_length=2048)
    git_branch: str | None = Field(
        None,
        description="Branch, tag or full commit id; by default the remote's default branch",
        min_length=1,
        max_length=255,
    )
    git_token: SecretStr | None = Field(
        None,
        description="Access token of a private repository, or user:password",
        min_length=1,
        max_length=4096,
    )

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
