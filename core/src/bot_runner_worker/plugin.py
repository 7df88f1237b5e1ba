"""The front door for plugin authors: everything that a deployment plugin imports.

A whole plugin, offering a mode ``hello`` that needs no code from the user at all::

    from bot_runner_worker.plugin import (
        ContainerOptions, DeploymentSource, Files, StrictModel, hookimpl,
    )

    class HelloParams(StrictModel):
        greeting: str = "hello"

    @hookimpl
    def deployment_sources():
        return [DeploymentSource("hello", "hello", HelloParams, "a bot that greets")]

    @hookimpl
    def resolve_image(request, tools):
        if request.mode == "hello":
            return tools.images.base()

    @hookimpl
    def container_options(request, tools):
        if request.mode != "hello":
            return None
        code = f"while True: print({request.params.greeting!r}); __import__('time').sleep(1)"
        files = Files.of("/app", {"bot.py": code}, max_size=tools.settings.max_context_size)
        return ContainerOptions(command=("python3", "-u", "/app/bot.py"), files=(files,))

It is announced in the plugin's ``pyproject.toml``::

    [project]
    dependencies = ["bot-runner-worker>=0.1,<0.2"]

    [project.entry-points.bot_runner_worker]
    hello = "my_module"

The hooks and their arguments are described in :mod:`bot_runner_worker.hookspecs`.
"""

import pluggy

from bot_runner_worker.engine.registries import RegistryAuth
from bot_runner_worker.errors import Code, PluginError, Rejected, Unavailable
from bot_runner_worker.events import BotEvent, EventType
from bot_runner_worker.hookspecs import PROJECT
from bot_runner_worker.identity import BotKey
from bot_runner_worker.images.context import BuildContext, BuildContextWriter, checked_path
from bot_runner_worker.images.image import Image
from bot_runner_worker.images.reference import ImageReference
from bot_runner_worker.outbound import OutboundPolicy, SourceUrl
from bot_runner_worker.plugins.sources import DeploymentRequest, DeploymentSource
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.requests import StrictModel
from bot_runner_worker.runtime.options import ContainerOptions, Device, Files, Mount
from bot_runner_worker.settings import Settings

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function, or a method of an object, as an implementation of the hook of its name."""

__all__ = [
    "BotEvent",
    "BotKey",
    "BuildContext",
    "BuildContextWriter",
    "Code",
    "ContainerOptions",
    "DeploymentRequest",
    "DeploymentSource",
    "Device",
    "EventType",
    "Files",
    "Image",
    "ImageReference",
    "Mount",
    "OutboundPolicy",
    "PluginError",
    "RegistryAuth",
    "Rejected",
    "Settings",
    "SourceUrl",
    "StrictModel",
    "Tools",
    "Unavailable",
    "checked_path",
    "hookimpl",
]
