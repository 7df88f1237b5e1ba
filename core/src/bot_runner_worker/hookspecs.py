"""The hooks that a plugin may implement: public API with names and arguments.

An implementation is a plain ``def``. It returns ``None`` at once for "not mine", or a result, or an awaitable
of a result; an ``async def`` is refused at load, since its coroutine would always count as an answer. It may
leave out arguments that it does not need.

Each hook has a time limit for what it awaits (see each hook), and whatever it raises ends the request that it
was asked about. Nothing ends code that never awaits: it stops the whole worker meanwhile, so whatever takes
time is awaited or done in a thread (:func:`bot_runner_worker.projects.in_thread`).
"""

from collections.abc import Awaitable
from typing import Any

import pluggy

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.options import ContainerOptions
from bot_runner_worker.plugins.catalogue import DeploymentRequest, DeploymentSource
from bot_runner_worker.plugins.tools import Tools

PROJECT = "bot_runner_worker"
hookspec = pluggy.HookspecMarker(PROJECT)


class HookSpecs:
    """Hook specifications of the project ``bot_runner_worker``."""

    @hookspec
    def deployment_sources(self) -> list[DeploymentSource]:
        """Offer the modes and sources that this plugin serves.

        Called once, when the plugin is loaded. Two plugins that offer the same mode and source are an error.

        Returns:
            The sources; an empty list for a plugin that only contributes container options or listens.

        Raises:
            PluginError: If the plugin cannot work here, such as for wrong settings of its own: it is reported
                and left out.

        Side effects: none. Since 0.1.
        """
        raise NotImplementedError

    @hookspec
    def prepare_build_context(
        self, request: DeploymentRequest[Any], tools: Tools
    ) -> Awaitable[BuildContext | None] | None:
        """Prepare the build context of a request.

        Called for each start that is not known to run already, on the plugin that offers the request's mode
        and source, and no other. ``None``: this mode builds nothing; so does an awaitable of ``None``.

        Args:
            request: The validated request; check ``request.mode`` and ``request.source`` first.
            tools: Settings, progress and :meth:`~Tools.new_build_context`.

        Returns:
            The finished build context; the core closes it.

        Raises:
            Rejected: If the request cannot be served.
            Unavailable: If trying again may help.

        Time: ``HOOK_TIMEOUT_SECONDS``, and twice ``SOURCE_TIMEOUT_SECONDS`` on top, for fetching and reading.
        Side effects: reading the source only. Since 0.1.
        """
        raise NotImplementedError

    @hookspec
    def resolve_image(
        self, request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
    ) -> Awaitable[Image] | None:
        """Resolve the image that the bot runs from.

        Called after the build context is prepared, on the plugin that offers the request's mode and source,
        and no other. ``None``: the core's own implementation builds ``context``, or reuses the image of the
        same content.

        Args:
            request: The validated request.
            context: The build context, or ``None`` where the mode builds nothing.
            tools: Base image, builds and pulls.

        Returns:
            An image that is ready on the Engine: one that ``tools.images`` has returned during this start.

        Raises:
            Rejected: If the request cannot be served.
            Unavailable: If trying again may help.

        Time: ``HOOK_TIMEOUT_SECONDS``, not counting what ``tools.images`` takes.
        Side effects: images on the Engine, made through ``tools`` only. Since 0.1.
        """
        raise NotImplementedError

    @hookspec
    def container_options(
        self, request: DeploymentRequest[Any], image: Image, tools: Tools
    ) -> Awaitable[ContainerOptions | None] | ContainerOptions | None:
        """Contribute options of the bot's container.

        Called for each plugin, whoever serves the request; the core merges last and keeps limits, network,
        security options, its labels and the name to itself. Devices, mounts, capabilities and GPUs are those
        that ``PLUGIN_GRANTS`` opens to the plugin. A plugin that breaks off over another one's request is
        left out there, with ``PLUGINS_STRICT`` unset.

        Args:
            request: The validated request.
            image: The resolved image.
            tools: Settings and progress.

        Returns:
            Options, or ``None`` for none.

        Raises:
            Rejected: If the request cannot be served.

        Time: ``HOOK_TIMEOUT_SECONDS``. Side effects: none. Since 0.1.
        """
        raise NotImplementedError

    @hookspec
    def bot_event(self, event: BotEvent) -> Awaitable[None] | None:
        """Hear of a bot that started, crashed, exited, stopped, expired or was removed.

        Called for each plugin after the fact; what it returns is awaited one event after the other. Nobody
        waits for it for more than a moment, and errors are logged and change nothing. ``None`` is all there
        is to return.

        Args:
            event: What happened.

        Time: ``HOOK_TIMEOUT_SECONDS``. Side effects: the plugin's own. Since 0.1.
        """
        raise NotImplementedError
