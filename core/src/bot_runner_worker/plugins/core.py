"""The core's own hook implementations, tried after all plugins'."""

from collections.abc import Awaitable
from typing import Any

import pluggy

from bot_runner_worker.hookspecs import PROJECT
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import Code, Rejected
from bot_runner_worker.model.image import Image
from bot_runner_worker.plugins.catalogue import DeploymentRequest
from bot_runner_worker.plugins.tools import Tools

hookimpl = pluggy.HookimplMarker(PROJECT)


@hookimpl(trylast=True)
def resolve_image(
    request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
) -> Awaitable[Image]:
    """Build the context, or reuse the image that has its content."""
    if context is None:
        raise Rejected(
            Code.PLUGIN_FAILED,
            f"The plugin of {request.mode}/{request.source} neither built nor resolved an image.",
            hint="This is a fault of the plugin, not of the request; report it to the operator.",
        )
    return tools.images.build(context, tools)
