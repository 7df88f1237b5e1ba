"""Deployment mode ``custom``, source ``git``: a bot from a Git repository over HTTPS.

The name of a branch or tag is resolved first, so that an unchanged commit is started from its image without
being fetched again.
"""

from collections.abc import Awaitable
from typing import Any

from bot_runner_custom_git.params import GitParams
from bot_runner_custom_git.source import prepare, resolve
from bot_runner_worker.plugin import (
    BuildContext,
    DeploymentRequest,
    DeploymentSource,
    Image,
    Tools,
    hookimpl,
)

MODE = "custom"
SOURCE = "git"


@hookimpl
def deployment_sources() -> list[DeploymentSource]:
    """Offer the source ``git`` of the mode ``custom``."""
    return [
        DeploymentSource(
            mode=MODE,
            name=SOURCE,
            params=GitParams,
            summary="a Git repository: branch, tag or commit, with a Dockerfile or a Python project",
            selected_by=frozenset({"git_repo"}),
        )
    ]


@hookimpl
def prepare_build_context(
    request: DeploymentRequest[Any], tools: Tools
) -> Awaitable[BuildContext | None] | None:
    """The build context of the commit; nothing if its image is known."""
    return prepare(request, tools) if _is_mine(request) else None


@hookimpl
def resolve_image(
    request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
) -> Awaitable[Image] | None:
    """The known image, or the one that is built."""
    return resolve(context, tools) if _is_mine(request) else None


def _is_mine(request: DeploymentRequest[Any]) -> bool:
    return (request.mode, request.source) == (MODE, SOURCE)
