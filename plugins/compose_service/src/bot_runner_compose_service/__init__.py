"""Deployment mode ``compose``: one service of a Compose file in a Git repository.

What a bot needs of a service is taken over: ``build`` or ``image``, ``entrypoint``, ``command``,
``environment``, ``user``, ``working_dir``, folders in memory. What a bot does not get here is refused by
name; what merely means nothing here is noted.
"""

from collections.abc import Awaitable
from typing import Any

from bot_runner_compose_service.params import ComposeParams
from bot_runner_compose_service.source import options, prepare, resolve
from bot_runner_worker.plugin import (
    BuildContext,
    ContainerOptions,
    DeploymentRequest,
    DeploymentSource,
    Image,
    Tools,
    hookimpl,
)

MODE = "compose"


@hookimpl
def deployment_sources() -> list[DeploymentSource]:
    """Offer the mode ``compose``."""
    return [
        DeploymentSource(
            mode=MODE,
            name="git",
            params=ComposeParams,
            summary="one service of a Compose file in a Git repository",
            # The mode's only source: without a repository too, so that the model says what is missing.
            selected_by=frozenset(),
        )
    ]


@hookimpl
def prepare_build_context(
    request: DeploymentRequest[Any], tools: Tools
) -> Awaitable[BuildContext | None] | None:
    """The build context of the service; nothing if it names a ready image."""
    return prepare(request.params, tools) if request.mode == MODE else None


@hookimpl
def resolve_image(
    request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
) -> Awaitable[Image] | None:
    """The image that the service names; the core builds the context of one that is built."""
    return resolve(tools) if request.mode == MODE and context is None else None


@hookimpl
def container_options(request: DeploymentRequest[Any], tools: Tools) -> ContainerOptions | None:
    """Command, environment and the like of the service."""
    return options(tools) if request.mode == MODE else None
