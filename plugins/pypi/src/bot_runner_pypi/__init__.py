"""Deployment mode ``pypi``: a bot that is published as a Python package, run by its console script.

The image holds the interpreter and the package, in one exact version, and nothing of the tenant's: all who
run the same release share it, and starting it again needs no build.
"""

from collections.abc import Awaitable
from typing import Any

from bot_runner_pypi.image import package_context
from bot_runner_pypi.params import PypiParams
from bot_runner_pypi.process import bot_process
from bot_runner_worker.plugin import (
    BuildContext,
    ContainerOptions,
    DeploymentRequest,
    DeploymentSource,
    Tools,
    hookimpl,
)

MODE = "pypi"


@hookimpl
def deployment_sources() -> list[DeploymentSource]:
    """Offer the mode ``pypi``."""
    return [
        DeploymentSource(
            mode=MODE,
            name="package",
            params=PypiParams,
            summary="a published package by name and version, run by its console script",
            # The mode's only source: without a package too, so that the model says what is missing.
            selected_by=frozenset(),
        )
    ]


@hookimpl
def prepare_build_context(request: DeploymentRequest[Any], tools: Tools) -> Awaitable[BuildContext] | None:
    """A build context that installs the package."""
    return package_context(request.params, tools) if request.mode == MODE else None


@hookimpl
def container_options(request: DeploymentRequest[Any]) -> ContainerOptions | None:
    """The console script, as the bot's process."""
    return bot_process(request.params) if request.mode == MODE else None
