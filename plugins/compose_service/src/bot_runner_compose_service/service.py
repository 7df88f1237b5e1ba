"""A service of a Compose file, as far as a bot is made of it."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot_runner_compose_service.errors import COMPOSE_SERVICE_NOT_FOUND, invalid
from bot_runner_compose_service.interpolation import interpolated, passed_through
from bot_runner_compose_service.keys import checked_keys
from bot_runner_compose_service.volumes import folders_in_memory
from bot_runner_worker.plugin import Rejected

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_USER = re.compile(r"[A-Za-z0-9_.-]{1,64}(:[A-Za-z0-9_.-]{1,64})?")
_FOLDER = re.compile(r"/[^\x00-\x1f]{0,1000}")


@dataclass(frozen=True, slots=True)
class Build:
    """What an image is built from.

    Args:
        context: Folder, relative to the Compose file's.
        dockerfile: The Dockerfile, relative to the context.
    """

    context: str
    dockerfile: str = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Service:
    """A service.

    Args:
        name: Its name in the file.
        build: What its image is built from, if it is.
        image: The image that it runs, if it is not built.
        entrypoint: Replaces the image's.
        command: Replaces the image's.
        environment: Variables with a value of their own; those without one are the request's.
        working_dir: Where it runs.
        user: As whom it runs.
        tmpfs: Sizes of folders in memory, by path.
        notes: What the bot's author should know.
    """

    name: str
    build: Build | None = None
    image: str | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_service(document: Mapping[str, Any], name: str | None) -> Service:
    """The service of that name, or the only one.

    Raises:
        Rejected: ``COMPOSE_SERVICE_NOT_FOUND``, or the code of what is wrong with it.
    """
    if document.get("include"):
        raise invalid("includes others, which are not read", "Write the service into this file.")
    services = document.get("services")
    if not isinstance(services, dict) or not services:
        raise invalid("has no services")
    if name is None and len(services) == 1:
        name = str(next(iter(services)))
    if name is None or name not in services:
        offered = ", ".join(sorted(map(str, services))[:20])
        raise Rejected(
            COMPOSE_SERVICE_NOT_FOUND,
            "The Compose file has several services."
            if name is None
            else f"The Compose file has no service {name[:80]!r}.",
            hint=f"Set service to one of: {offered}.",
            details={"services": sorted(map(str, services))[:100]},
        )
    service = services[name]
    if not isinstance(service, dict):
        raise invalid(f"has a service {name[:80]!r} that is no mapping")
    return _service(name, service)


def _service(name: str, service: dict[str, Any]) -> Service:
    build = service.get("build")
    inner = {f"build.{key}": value for key, value in build.items()} if isinstance(build, dict) else {}
    notes = checked_keys(name, service | inner)
    tmpfs, lost = folders_in_memory(service.get("tmpfs"), service.get("volumes"))
    image = _optional_text("image", service.get("image"))
    if build is None and image is None:
        raise invalid(f"has a service {name[:80]!r} with neither build nor image", "Give it one of them.")
    if build is not None and image is not None:
        notes.append(f"the image is built; the name {image[:100]} is not used")
    return Service(
        name=name,
        build=None if build is None else _build(build),
        image=None if build is not None else image,
        entrypoint=_words("entrypoint", service.get("entrypoint")),
        command=_words("command", service.get("command")),
        environment=_environment(service.get("environment")),
        working_dir=_matching("working_dir", service.get("working_dir"), _FOLDER),
        user=_matching("user", service.get("user"), _USER),
        tmpfs=tmpfs,
        notes=(*notes, *lost),
    )


def _build(value: Any) -> Build:
    if isinstance(value, str):
        return Build(interpolated(value, where="build"))
    if not isinstance(value, dict):
        raise invalid("has a build that is neither a folder nor a mapping")
    context = _optional_text("build.context", value.get("context")) or "."
    return Build(context, _optional_text("build.dockerfile", value.get("dockerfile")) or "Dockerfile")


def _optional_text(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid(f"has a {key} that is no text")
    text = interpolated(value, where=key)
    if "\0" in text:
        raise invalid(f"has a NUL character in {key}")
    return text


def _matching(key: str, value: Any, pattern: re.Pattern[str]) -> str | None:
    text = _optional_text(key, value)
    if text is not None and (not pattern.fullmatch(text) or ".." in text.split("/")):
        raise invalid(f"has a {key} that is none: {text[:80]!r}")
    return text


def _words(key: str, value: Any) -> tuple[str, ...] | None:
    """A list as it is; a line is taken apart as a shell would do it, which does not run it."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return tuple(shlex.split(_optional_text(key, value) or ""))
        except ValueError:
            raise invalid(f"has quotes in {key} that are not closed") from None
    if not isinstance(value, list):
        raise invalid(f"has a {key} that is neither a line nor a list")
    return tuple(_optional_text(key, word) or "" for word in value)


def _environment(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, list):
        pairs = [_pair(each) for each in value]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise invalid("has an environment that is neither a list nor a mapping")
    environment = {}
    for name, text in pairs:
        if not isinstance(name, str) or not _ENVIRONMENT_NAME.fullmatch(name):
            raise invalid(f"has a variable in environment with a name that is none: {str(name)[:80]!r}")
        if text is not None and not isinstance(text, str):
            raise invalid(f"has a value of {name} in environment that is no text")
        if not passed_through(text, name):
            environment[name] = _optional_text(f"environment ({name})", text) or ""
    return environment


def _pair(value: Any) -> tuple[str, str | None]:
    if not isinstance(value, str):
        raise invalid("has an entry in environment that is no text")
    name, equals, text = value.partition("=")
    return name, text if equals else None
