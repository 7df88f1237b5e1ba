"""Deployment mode ``image``: a bot from a container image in a registry.

Nothing is built. The registry is asked each time, with the request's own credentials, and the image that it
answers is run by its id.
"""

from collections.abc import Awaitable
from typing import Any

from bot_runner_image.params import ImageParams
from bot_runner_worker.plugin import (
    DeploymentRequest,
    DeploymentSource,
    Image,
    RegistryAuth,
    Tools,
    hookimpl,
)

MODE = "image"


@hookimpl
def deployment_sources() -> list[DeploymentSource]:
    """Offer the mode ``image``."""
    return [
        DeploymentSource(
            mode=MODE,
            name="registry",
            params=ImageParams,
            summary="a container image from a registry, optionally with registry_auth",
            # The mode's only source: without docker_image too, so that the model says what is missing.
            selected_by=frozenset(),
        )
    ]


@hookimpl
def resolve_image(request: DeploymentRequest[Any], tools: Tools) -> Awaitable[Image] | None:
    """The image, pulled if the Engine does not have it."""
    if request.mode != MODE:
        return None
    params: ImageParams = request.params
    auth = None
    if params.registry_auth is not None:
        credentials = params.registry_auth
        auth = RegistryAuth(credentials.username, credentials.password.get_secret_value())
    return tools.images.pull(params.docker_image, tools, auth=auth)
