"""What the mode takes, and how it is checked."""

import re
from typing import Annotated

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version
from pydantic import Field, field_validator

from bot_runner_worker.plugin import Code, Rejected, StrictModel

_SCRIPT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MAX_ARGUMENT = 1000


class PypiParams(StrictModel):
    """Params of the mode ``pypi``."""

    package: str = Field(description="Name of the package in the index, such as my-bot", max_length=100)
    version: str = Field(description="Its exact version, such as 1.4.2", max_length=100)
    extras: list[Annotated[str, Field(max_length=100)]] = Field(
        default_factory=list, description="Extras to install with it, such as redis", max_length=20
    )
    script: str | None = Field(
        None,
        description="Its console script that is run; by default the one of the package's name",
        max_length=100,
    )
    args: list[str] = Field(
        default_factory=list, description="Arguments of the console script", max_length=50
    )

    @field_validator("package")
    @classmethod
    def _package(cls, value: str) -> str:
        return _checked_name(value, "package")

    @field_validator("version")
    @classmethod
    def _version(cls, value: str) -> str:
        try:
            return str(Version(value))
        except InvalidVersion:
            raise _rejected(
                f"The version {value[:80]!r} is not an exact version.",
                "Give one version, such as 1.4.2: no range, no wildcard and no address.",
            ) from None

    @field_validator("extras")
    @classmethod
    def _extras(cls, value: list[str]) -> list[str]:
        # Sorted, each once: the same set gives the same image.
        return sorted({_checked_name(extra, "extra") for extra in value})

    @field_validator("script")
    @classmethod
    def _script(cls, value: str | None) -> str | None:
        # It is looked up in PATH: a slash would name any file, a leading dash an option.
        if value is not None and not _SCRIPT.fullmatch(value):
            raise Rejected(
                Code.INVALID_ENTRYPOINT,
                f"The console script {value[:80]!r} is no name of a command.",
                hint="Give the name of a command that the package installs, without a path or arguments; "
                "arguments go into args.",
            )
        return value

    @field_validator("args")
    @classmethod
    def _args(cls, value: list[str]) -> list[str]:
        if any(len(each) > _MAX_ARGUMENT or not each.isprintable() for each in value):
            raise Rejected(
                Code.INVALID_FIELD,
                f"An argument is longer than {_MAX_ARGUMENT} characters, or holds control characters.",
                hint="Give each argument as a short text of its own; secrets go into env_vars.",
            )
        return value

    @property
    def requirement(self) -> str:
        """The one requirement that is installed."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.package}{extras}=={self.version}"

    @property
    def command(self) -> str:
        """The console script."""
        return self.script or self.package


def _checked_name(value: str, field: str) -> str:
    try:
        return canonicalize_name(value, validate=True)
    except InvalidName:
        raise _rejected(
            f"The {field} {value[:80]!r} is no name of a Python package or extra.",
            "Give the name alone, such as my-bot; version and extras have fields of their own. "
            "Addresses, paths and options of pip are not taken: the operator sets the package index.",
        ) from None


def _rejected(message: str, hint: str) -> Rejected:
    return Rejected(Code.INVALID_REQUIREMENT, message, hint=hint)
