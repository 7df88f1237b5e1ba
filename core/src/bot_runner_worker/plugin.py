"""The front door for plugin authors: everything that a deployment plugin imports.

A whole plugin, offering a mode ``hello`` that needs no code from the user at all::

    from pydantic import Field

    from bot_runner_worker.plugin import (
        ContainerOptions, DeploymentSource, Files, StrictModel, hookimpl,
    )

    class HelloParams(StrictModel):
        greeting: str = Field("hello", description="What the bot says", max_length=1000)

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

``bot-runner-worker plugins new hello`` writes one with its tests. The hooks and their arguments are described
in :mod:`bot_runner_worker.hookspecs`.

**What comes back.** An implementation is a plain ``def``: it returns ``None`` for "not mine", a result, or an
awaitable of one. What it awaits may take ``HOOK_TIMEOUT_SECONDS``. What it does without awaiting stops the
whole worker meanwhile, and no time limit ends it, so reading, unpacking and computing belong into a thread
(:func:`bot_runner_worker.projects.in_thread`). It is cancelled when the bot is stopped meanwhile, and tidies
up then.

**What goes wrong.** Raise :class:`Rejected` if the request cannot be served, with a code of your own, a
sentence and a hint for the bot's author; :class:`Unavailable` if trying again may help. Neither may hold a
secret. Any other exception ends the request with ``PLUGIN_FAILED``, and is the plugin's fault; so is the
``ValidationError`` that a wrong value in :class:`ContainerOptions` and its parts raises where it is made.

**What the core keeps.** Limits, network, labels of its own, security options. Devices, mounts, capabilities
and GPUs are refused unless the operator opens each to this plugin (``PLUGIN_GRANTS``). An image is one that
came from ``tools.images`` in the same start.

**What is stable.** The names in ``__all__``, the hooks with their arguments, the fields of the classes here,
:mod:`bot_runner_worker.projects` (project files to build contexts) and :mod:`bot_runner_worker.testing` (the
test kit); nothing else. Versions are semantic. A patch version changes none of it. A minor version may add: a
hook, an argument of a hook, a field with a default, an error code; until 1.0 it may also change or remove,
with an entry in the changelog. From 1.0 on only a major version does, after a minor version has warned. So
pin ``bot-runner-worker>=0.1,<0.2``: the core compares the pin with its own version at each start, leaves
out a plugin that does not fit, and warns of one without a pin.
"""

import pluggy

from bot_runner_worker.hookspecs import PROJECT
from bot_runner_worker.images.context import BuildContext, BuildContextWriter
from bot_runner_worker.model.errors import Code, PluginError, Rejected, Unavailable
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image, ImageReference, RegistryAuth
from bot_runner_worker.model.options import ContainerOptions, Device, Files, Mount
from bot_runner_worker.model.paths import checked_path
from bot_runner_worker.model.quantities import format_size
from bot_runner_worker.model.requests import StrictModel
from bot_runner_worker.outbound import OutboundPolicy, SourceUrl, parse_url
from bot_runner_worker.plugins.catalogue import DeploymentRequest, DeploymentSource
from bot_runner_worker.plugins.tools import Tools
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
    "format_size",
    "hookimpl",
    "parse_url",
]
