"""The image that bots without a Dockerfile are built on, with the operator's network settings baked in."""

import json

from bot_runner_worker.engine import Engine, EngineError, registries
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images.context import BuildContext, BuildContextWriter
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.errors import Code, Rejected, Unavailable
from bot_runner_worker.model.image import Image
from bot_runner_worker.settings import Settings

CA_PATH = "/etc/ssl/certs/bot-runner-ca.crt"
_SYSTEM_CA_PATH = "/etc/ssl/certs/ca-certificates.crt"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


async def ready_base_image(engine: Engine, settings: Settings) -> Image:
    """The operator's base image, pulled if the Engine does not have it.

    Raises:
        Unavailable: ``BASE_IMAGE_UNAVAILABLE`` if it can neither be found nor pulled, ``ENGINE_DISK_FULL`` if
            there is no room to pull it.
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
        raise _unavailable(settings, error.message) from error
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
    """Progress that nobody is told of."""


def _unavailable(settings: Settings, reason: str) -> Unavailable:
    return Unavailable(
        Code.BASE_IMAGE_UNAVAILABLE,
        f"The base image {settings.base_image} is not there and cannot be pulled.",
        hint="This is for the operator: pull or build it, or set BASE_IMAGE to an image that the Engine has.",
        details={"reason": reason[:500]},
    )


def network_environment(settings: Settings) -> dict[str, str]:
    """Variables by which builds and bots find the operator's CA bundle, package index and proxy."""
    environment: dict[str, str] = {}
    if settings.ca_bundle is not None:
        environment |= dict.fromkeys(_CA_VARIABLES, CA_PATH)
    if settings.package_index_url is not None:
        environment |= dict.fromkeys(("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), settings.package_index_url)
    return environment | settings.proxy_environment()


def network_context(base: Image, settings: Settings) -> BuildContext | None:
    """Build context of the base image with the operator's network settings, ``None`` if there are none."""
    environment = network_environment(settings)
    if not environment:
        return None
    with BuildContextWriter(max_size=settings.max_context_size) as writer:
        lines = [f"FROM {base.id}"]
        if settings.ca_bundle is not None:
            try:
                writer.add("ca.crt", settings.ca_bundle.read_bytes())
            except OSError as error:
                raise Rejected(
                    Code.BASE_IMAGE_UNAVAILABLE,
                    f"The CA bundle cannot be read ({error.strerror}).",
                    hint="This is for the operator: correct CA_BUNDLE.",
                ) from error
            lines.append(f"COPY ca.crt {CA_PATH}")
            # These variables replace the system's bundle, so ours must hold it as well.
            lines.append(f"RUN if [ -f {_SYSTEM_CA_PATH} ]; then cat {_SYSTEM_CA_PATH} >> {CA_PATH}; fi")
        # JSON strings are valid quoted words of a Dockerfile; a dollar sign would be expanded.
        lines += [
            f"ENV {name}=" + json.dumps(value).replace("$", "\\$")
            for name, value in sorted(environment.items())
        ]
        writer.add("Dockerfile", "\n".join(lines) + "\n")
        return writer.finish(shared=True)
