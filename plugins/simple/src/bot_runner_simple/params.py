"""What the mode takes, and how it is checked."""

from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from bot_runner_worker.plugin import Code, Rejected, StrictModel, checked_path
from bot_runner_worker.projects import check_requirements, checked_entrypoint

MAX_FILES = 2_000


class SimpleParams(StrictModel):
    """Params of the mode ``simple``: exactly one of ``code`` and ``files``."""

    code: str | None = Field(None, description="Source of the entrypoint, for a bot of a single file")
    files: dict[str, str] | None = Field(
        None, description="Text by relative path, such as handlers/start.py", max_length=MAX_FILES
    )
    requirements: list[str] = Field(
        default_factory=list, description="Packages from the index, such as aiogram>=3", max_length=200
    )
    entrypoint: str = Field("bot.py", description="File that is run")

    @field_validator("requirements")
    @classmethod
    def _requirements(cls, value: list[str]) -> list[str]:
        return check_requirements(value)

    @field_validator("entrypoint")
    @classmethod
    def _entrypoint(cls, value: str) -> str:
        return checked_entrypoint(value)

    @field_validator("code", "files")
    @classmethod
    def _text(cls, value: Any) -> Any:
        for text in [value] if isinstance(value, str) else (value or {}).values():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise Rejected(
                    Code.INVALID_FIELD,
                    "A source file is not valid Unicode text.",
                    hint="Send source files as UTF-8 text.",
                ) from None
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.code is not None and self.files is not None:
            raise Rejected(
                Code.CONFLICTING_SOURCES,
                "The request gives both code and files.",
                hint="Give code for a single file, or files for several, not both.",
            )
        if not self.sources():
            raise Rejected(
                Code.MISSING_SOURCE,
                "The request gives neither code nor files.",
                hint="Give code for a single file, or files for several.",
            )
        if self.entrypoint not in self.sources():
            raise Rejected(
                Code.INVALID_ENTRYPOINT,
                f"The entrypoint {self.entrypoint} is not among the files.",
                hint=f"Set entrypoint to one of: {', '.join(sorted(self.sources())[:20])}.",
                details={"files": sorted(self.sources())[:100]},
            )
        return self

    def sources(self) -> dict[str, str]:
        """Text by checked relative path."""
        if self.code is not None:
            return {self.entrypoint: self.code}
        # Two spellings of one path must not hide each other: the core refuses what is left double.
        return {checked_path(path): text for path, text in (self.files or {}).items()}
