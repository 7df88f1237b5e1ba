"""What the mode takes, and how it is checked."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator

from bot_runner_worker.plugin import Code, ImageReference, Rejected, StrictModel

MAX_SECRET = 16 * 1024
"""Characters; the tokens of some clouds' registries are several thousand long."""


class RegistryAuth(StrictModel):
    """Credentials for the image's registry, and for no other."""

    username: str = Field(description="Account that may pull the image", max_length=MAX_SECRET)
    password: SecretStr = Field(description="Its password or access token", max_length=MAX_SECRET)

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        given = value if isinstance(value, Mapping) else {}
        if missing := [name for name in ("username", "password") if not _is_text(given.get(name))]:
            raise Rejected(
                Code.INCOMPLETE_REGISTRY_AUTH,
                f"registry_auth lacks {' and '.join(missing)}, or not as text.",
                hint='Give both: {"username": "me", "password": "my-token"}; none for a public image.',
                details={"missing": missing},
            )
        return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


class ImageParams(StrictModel):
    """Params of the mode ``image``."""

    docker_image: str = Field(
        description="Image as in docker pull, such as ghcr.io/owner/bot:1.0; with a digest it never changes"
    )
    registry_auth: RegistryAuth | None = Field(
        None, description="Credentials for a private image; sent to the image's own registry only"
    )

    @model_validator(mode="before")
    @classmethod
    def _there(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("docker_image") in (None, ""):
            raise Rejected(
                Code.MISSING_DOCKER_IMAGE,
                "The request does not say which image to run.",
                hint='Set "docker_image" to a name as in docker pull, such as ghcr.io/owner/bot:1.0.',
            )
        return value

    @field_validator("docker_image", mode="before")
    @classmethod
    def _reference(cls, value: Any) -> Any:
        # The whole name is checked here, before anything is asked of anybody.
        ImageReference.parse(value if isinstance(value, str) else repr(type(value)))
        return value
