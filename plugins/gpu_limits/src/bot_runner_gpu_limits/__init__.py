"""No deployment mode: gives the bots that the operator names GPUs, whatever mode they come by.

What a bot gets is the operator's to say, in settings of this plugin; the core opens it to the plugin only as
far as ``PLUGIN_GRANTS`` says, so a slip in one of the two opens nothing.
"""

from typing import Any

from bot_runner_gpu_limits.settings import GpuSettings
from bot_runner_worker.plugin import ContainerOptions, DeploymentRequest, DeploymentSource, Device, hookimpl


@hookimpl
def deployment_sources() -> list[DeploymentSource]:
    """Offer nothing, and have wrong settings reported when the plugin is loaded, not at the first start."""
    GpuSettings.load()
    return []


@hookimpl
def container_options(request: DeploymentRequest[Any]) -> ContainerOptions | None:
    """GPUs and devices, for the bots that get them."""
    settings = GpuSettings.load()
    if not settings.gives_to(request.bot):
        return None
    return ContainerOptions(gpus=settings.count, devices=tuple(Device(path) for path in settings.devices))
