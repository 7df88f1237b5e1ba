"""Deployment mode ``simple``: a bot from its source files and a list of requirements.

The image holds the interpreter and the requirements and nothing else, so bots with the same requirements
share one; the code is data that is put into the created container.
"""

from collections.abc import Awaitable
from typing import Any

from bot_runner_simple.params import SimpleParams
from bot_runner_simple.process import bot_process
from bot_runner_worker.plugin import (
    ContainerOptions,
    DeploymentRequest,
    DeploymentSource,
    Image,
    Tools,
    hookimpl,
)

MODE = "simple"


@hookimpl
def deployment_sources() -> list[DeploymentSource]:
    """Offer the mode ``simple``."""
    return [
        DeploymentSource(
            mode=MODE,
            name="simple",
            params=SimpleParams,
            summary="code or files, with requirements and an entrypoint",
            selected_by=frozenset({"code", "files"}),
        )
    ]


@hookimpl
def resolve_image(request: DeploymentRequest[Any], tools: Tools) -> Awaitable[Image] | None:
    """The base image with the requirements, if there are any."""
    if request.mode != MODE:
        return None
    requirements = request.params.requirements
    return tools.images.with_packages(requirements, tools) if requirements else tools.images.base()


@hookimpl
def container_options(request: DeploymentRequest[Any], tools: Tools) -> ContainerOptions | None:
    """The bot's files, and how it is run."""
    return bot_process(request.params, tools) if request.mode == MODE else None
