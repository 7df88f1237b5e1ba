"""What the two sources take, and how it is checked."""

from pydantic import Field, field_validator

from bot_runner_custom_archive.errors import ARCHIVE_TOO_LARGE, INVALID_ARCHIVE_URL
from bot_runner_worker.plugin import Rejected, StrictModel, checked_path, parse_url
from bot_runner_worker.projects import checked_entrypoint

MAX_INLINE = 32 * 1024 * 1024
"""Largest archive inside a request, in bytes before base64; larger ones are downloaded."""


class ProjectParams(StrictModel):
    """What both sources take."""

    archive_subdir: str | None = Field(None, description="Folder of the archive that holds the project")
    entrypoint: str | None = Field(None, description="Python file to run, for a project without a Dockerfile")

    @field_validator("archive_subdir")
    @classmethod
    def _subdir(cls, value: str | None) -> str | None:
        if value is None or value.strip("./") == "":
            return None
        return checked_path(value.rstrip("/"))

    @field_validator("entrypoint")
    @classmethod
    def _entrypoint(cls, value: str | None) -> str | None:
        return None if value is None else checked_entrypoint(value)


class ArchiveParams(ProjectParams):
    """Params of the mode ``custom``, source ``archive``."""

    archive: str = Field(description="The archive in base64: tar (plain, gz, bz2, xz) or zip")

    @field_validator("archive")
    @classmethod
    def _archive(cls, value: str) -> str:
        # By its length, before anything is decoded.
        if len(value) > -(-MAX_INLINE // 3) * 4:
            raise Rejected(
                ARCHIVE_TOO_LARGE,
                f"The archive is larger than {MAX_INLINE >> 20} MiB.",
                hint="Put it on a server and send archive_url instead.",
                details={"limit_bytes": MAX_INLINE},
            )
        return value


class ArchiveUrlParams(ProjectParams):
    """Params of the mode ``custom``, source ``archive_url``."""

    archive_url: str = Field(description="Address of the archive: https://…", max_length=2048)

    @field_validator("archive_url")
    @classmethod
    def _archive_url(cls, value: str) -> str:
        # Where it leads is judged when it is dialled; here only whether it can be read at all.
        url = parse_url(value, code=INVALID_ARCHIVE_URL, field="archive_url")
        if url.scheme not in ("https", "http"):
            raise Rejected(
                INVALID_ARCHIVE_URL,
                "archive_url is no https:// address.",
                hint="Give an address such as https://example.com/bot.tar.gz.",
            )
        return value
