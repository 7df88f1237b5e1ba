"""The operator's base image, with the operator's network settings in it."""

import json
from pathlib import Path

from bot_runner_worker.engine import Engine, EngineError, registries
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.engine.messages import shown
from bot_runner_worker.images.context import BuildContext, BuildContextWriter
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.errors import Code, Rejected, Unavailable
from bot_runner_worker.model.image import Image
from bot_runner_worker.settings import Settings

CA_PATH = "/etc/ssl/certs/bot-runner-ca.crt"
_SYSTEM_CA_PATH = "/etc/ssl/certs/ca-certificates.crt"
APPEND_SYSTEM_CA = f"if [ -f {_SYSTEM_CA_PATH} ]; then cat {_SYSTEM_CA_PATH} >> {CA_PATH}; fi"
"""A shell command. The variables replace the system's bundle, so the operator's must hold it as well."""

_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


async def ready_base_image(engine: Engine, settings: Settings) -> Image:
    """Return the operator's base image; pull it if the Engine does not have it.

    Raises:
        Unavailable: ``BASE_IMAGE_UNAVAILABLE`` if it is not there and cannot be pulled, ``ENGINE_DISK_FULL``
            if there is no room to pull it.
    """
    image = await engine_images.inspect(engine, settings.base_image)
    if image is not None:
        return image
    await EngineDisk(engine, settings).check()
    try:
        name, tag = _split(settings.base_image)
        await registries.pull(engine, name, tag, headers={}, max_size=None, progress=silent)
        image = await engine_images.inspect(engine, settings.base_image)
    except EngineError as error:
        raise _unavailable(settings, shown(error.message)) from error
    if image is None:
        raise _unavailable(settings, "the pull ended without an image")
    return image


def _split(reference: str) -> tuple[str, str]:
    if "@" in reference:
        name, _, version = reference.rpartition("@")
    else:
        name, _, version = (
            reference.rpartition(":") if ":" in reference.rpartition("/")[2] else (reference, "", "")
        )
    return name, version or "latest"


async def silent(message: str, fraction: float | None) -> None:
    """Report no progress."""


def _unavailable(settings: Settings, reason: str) -> Unavailable:
    return Unavailable(
        Code.BASE_IMAGE_UNAVAILABLE,
        f"The base image {settings.base_image} is not there and cannot be pulled.",
        hint="This is for the operator: pull or build it, or set BASE_IMAGE to an image that the Engine has.",
        details={"reason": reason[:500]},
    )


def network_environment(settings: Settings) -> dict[str, str]:
    """Variables for builds and bots: the operator's CA bundle, index and proxy."""
    environment: dict[str, str] = {}
    if settings.ca_bundle is not None:
        environment |= dict.fromkeys(_CA_VARIABLES, CA_PATH)
    return environment | settings.index_environment() | settings.proxy_environment()


def read_ca_bundle(path: Path) -> bytes:
    """The operator's CA bundle.

    Raises:
        Rejected: ``BASE_IMAGE_UNAVAILABLE`` if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(
            Code.BASE_IMAGE_UNAVAILABLE,
            f"The CA bundle cannot be read ({error.strerror}).",
            hint="This is for the operator: correct CA_BUNDLE.",
        ) from error


def network_context(base: Image, settings: Settings) -> BuildContext | None:
    """The build context that adds the operator's network settings, if there are any."""
    environment = network_environment(settings)
    if not environment:
        return None
    with BuildContextWriter(max_size=settings.max_context_size) as writer:
        lines = [f"FROM {base.id}"]
        if settings.ca_bundle is not None:
            writer.add("ca.crt", read_ca_bundle(settings.ca_bundle))
            lines += [f"COPY ca.crt {CA_PATH}", f"RUN {APPEND_SYSTEM_CA}"]
        # JSON strings are valid quoted words of a Dockerfile; a dollar sign would be expanded.
        lines += [
            f"ENV {name}=" + json.dumps(value).replace("$", "\\$")
            for name, value in sorted(environment.items())
        ]
        writer.add("Dockerfile", "\n".join(lines) + "\n")
        return writer.finish(shared=True)
