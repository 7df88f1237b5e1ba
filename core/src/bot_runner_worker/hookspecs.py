"""The hooks that a deployment plugin may implement; their names and arguments are public API.

An implementation is a plain ``def``. It returns ``None`` at once for "not mine", or a result, or an awaitable
of a result; an ``async def`` is refused at load, since its coroutine would always count as an answer. It may
leave out arguments that it does not need.
"""

from collections.abc import Awaitable
from typing import Any

import pluggy

from bot_runner_worker.events import BotEvent
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.image import Image
from bot_runner_worker.plugins.sources import DeploymentRequest, DeploymentSource
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.runtime.options import ContainerOptions

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

    @hookspec(firstresult=True)
    def prepare_build_context(
        self, request: DeploymentRequest[Any], tools: Tools
    ) -> Awaitable[BuildContext | None] | None:
        """Prepare the build context of a request.

        Called for each start that is not known to run already. Stops at the first result that is not
        ``None``. ``None``: not mine; an awaitable of ``None``: mine, and this mode builds nothing.

        Args:
            request: The validated request; check ``request.mode`` and ``request.source`` first.
            tools: Settings, progress and :meth:`~Tools.new_build_context`.

        Returns:
            The finished build context; the core closes it.

        Raises:
            Rejected: If the request cannot be served.
            Unavailable: If trying again may help.

        Side effects: reading the source only. Since 0.1.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def resolve_image(
        self, request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
    ) -> Awaitable[Image] | None:
        """Resolve the image that the bot runs from.

        Called after the build context is prepared. Stops at the first result that is not ``None``. The core's
        own implementation comes last: it builds ``context``, or reuses the image of the same content.

        Args:
            request: The validated request.
            context: The build context, or ``None`` where the mode builds nothing.
            tools: Base image, builds and pulls.

        Returns:
            An image that is ready on the Engine.

        Raises:
            Rejected: If the request cannot be served.
            Unavailable: If trying again may help.

        Side effects: images on the Engine, made through ``tools`` only. Since 0.1.
        """
        raise NotImplementedError

    @hookspec
    def container_options(
        self, request: DeploymentRequest[Any], image: Image, tools: Tools
    ) -> Awaitable[ContainerOptions | None] | ContainerOptions | None:
        """Contribute options of the bot's container.

        Called for each plugin, whoever serves the request; the core merges last and keeps limits, network,
        capabilities, security options, its labels and the name to itself.

        Args:
            request: The validated request.
            image: The resolved image.
            tools: Settings and progress.

        Returns:
            Options, or ``None`` for none.

        Raises:
            Rejected: If the request cannot be served.

        Side effects: none. Since 0.1.
        """
        raise NotImplementedError

    @hookspec
    def bot_event(self, event: BotEvent) -> Awaitable[None] | None:
        """Hear of a bot that started, crashed, exited, stopped, expired or was removed.

        Called for each plugin after the fact; errors are logged and change nothing.

        Args:
            event: What happened.

        Side effects: the plugin's own. Since 0.1.
        """
        raise NotImplementedError
