"""Images: their names by the grammar of the distribution project, credentials, and who wants them."""

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.identity import CONTENT


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is ready on the Engine.

    Args:
        id: Content id, ``sha256:…``: what the container is created from.
        reference: Its name, such as ``python:3.12-slim``; shown in results.
        labels: The image's labels.
        volumes: Paths that the image declares as volumes.
        environment: The image's own variables.
        platform: ``linux/amd64`` or the like.
        size: Bytes of all its layers.
        tags: All its tags.
        triggers: Instructions that it would add to a build on top of it (``ONBUILD``).
        user: Whom it runs as, as ``USER`` says; empty for root.
    """

    id: str
    reference: str
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    size: int = 0
    tags: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    user: str = ""

    @property
    def content(self) -> str:
        """An id of its content: equal for images from which a bot would be the same."""
        return self.labels.get(CONTENT) or self.id


DEFAULT_REGISTRY = "docker.io"
_ALIASES = {"index.docker.io": DEFAULT_REGISTRY, "registry-1.docker.io": DEFAULT_REGISTRY}
OWN_REPOSITORY = "bot-runner/"
"""Beginning of the tags of images that were built here; each belongs to the tenant that it was built for."""

_MAX_NAME = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"{_HOST_PART}(?:\.{_HOST_PART})*(?::[0-9]{{1,5}})?")
# github.com/distribution/reference, regexp.go; digests of other algorithms than SHA-256 are not in use.
_REST = re.compile(
    rf"({_COMPONENT}(?:/{_COMPONENT})*)(?::(\w[\w.-]{{0,127}}))?(?:@(sha256:[0-9a-f]{{64}}))?", re.ASCII
)
_HEX_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


def own_repository(namespace: str) -> str:
    """The repository of all tags that a runner gives.

    Args:
        namespace: The runner's.
    """
    return f"{OWN_REPOSITORY}{namespace}"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """The name of an image in a registry, in normal form.

    Args:
        registry: Host, with a port if one was given; ``docker.io`` by default.
        path: Repository inside the registry: ``library/python``.
        tag: ``latest`` by default; empty where only a digest was given.
        digest: ``sha256:…``, or empty.
    """

    registry: str
    path: str
    tag: str
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a reference such as ``python``, ``ghcr.io/me/bot:1.2`` or ``…@sha256:…``.

        Raises:
            Rejected: ``INVALID_IMAGE_NAME`` if it is none, or names an image of this machine: by its id, or
                in the runner's own repository.
        """

        def reject(reason: str) -> Rejected:
            # A user who takes it for a URL may put a password into it.
            shown = "***" if "@" in text or "://" in text else text[:120].encode("unicode_escape").decode()
            return Rejected(
                Code.INVALID_IMAGE_NAME,
                f"The image name {shown} {reason}.",
                hint="Give a name as in docker pull, such as python:3.12-slim or ghcr.io/owner/bot:1.0.",
            )

        if _HEX_ID.fullmatch(text):
            raise reject("is an id, which no registry knows")
        # The bound comes first: the pattern must not be tried on megabytes.
        if len(text) > 2 * _MAX_NAME + 128:
            raise reject("is too long")
        registry, slash, rest = text.partition("/")
        if not (slash and _is_registry(registry)):
            registry, rest = DEFAULT_REGISTRY, text
        match = _REST.fullmatch(rest)
        if match is None or not _REGISTRY.fullmatch(registry):
            raise reject(
                "is not valid; names are written in lower case" if rest != rest.lower() else "is not valid"
            )
        path, tag, digest = match.groups(default="")
        registry = _ALIASES.get(registry.lower(), registry.lower())
        if registry == DEFAULT_REGISTRY and "/" not in path:
            path = f"library/{path}"
        if len(registry) + 1 + len(path) > _MAX_NAME:
            raise reject("is too long")
        if registry == DEFAULT_REGISTRY and path.startswith(OWN_REPOSITORY):
            raise reject("is in the runner's own repository")
        return cls(registry, path, tag or ("" if digest else "latest"), digest)

    @property
    def repository(self) -> str:
        """Registry and path: ``docker.io/library/python``."""
        return f"{self.registry}/{self.path}"

    @property
    def familiar(self) -> str:
        """The short form, without defaults: ``python:3.12-slim``."""
        name = self.repository.removeprefix(f"{DEFAULT_REGISTRY}/").removeprefix("library/")
        return (name if self.registry == DEFAULT_REGISTRY else self.repository) + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.repository + self._suffix


def _is_registry(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost"


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    """Credentials for one registry.

    Args:
        username: Who pulls.
        password: Or a token.
    """

    username: str
    password: str = field(repr=False)

    def headers(self, registry: str) -> dict[str, str]:
        """The header with the credentials for this registry (``X-Registry-Auth``)."""
        content = {"username": self.username, "password": self.password, "serveraddress": registry}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(content).encode()).decode()}


Progress = Callable[[str, float | None], Awaitable[None]]
"""Called with a few words, and how much of the work is done (0 to 1) if that is known."""


class Deployment(Protocol):
    """A deployment for which images are obtained."""

    @property
    def tenant(self) -> str:
        """The tenant, who alone uses images that are not shared."""
        ...

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Report progress to the bot's author.

        Args:
            message: A few words; never a secret.
            fraction: How much of this stage is done, 0 to 1, if that is known.
        """
        ...
