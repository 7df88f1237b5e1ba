"""The loaded plugins: the only place that calls their hooks."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pluggy
from pydantic import BaseModel

from bot_runner_worker.hookspecs import PROJECT, HookSpecs
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.model.grants import check_granted
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.options import ContainerOptions, merge
from bot_runner_worker.model.requests import StartBot
from bot_runner_worker.plugins.catalogue import DeploymentRequest
from bot_runner_worker.plugins.errors import HINT, PluginErrors, plugin_failed, wrong_type
from bot_runner_worker.plugins.guard import Calls, HookCall, PluginGuard
from bot_runner_worker.plugins.loading import LoadedPlugins, implementations
from bot_runner_worker.plugins.tools import RequestImages, Tools
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

AT_ONCE = 0.5
"""Seconds for which the teller of an event waits, so that a quick plugin has heard of it by then."""

CAPACITY = 1000
"""Events that wait for one plugin; of more, the oldest are dropped."""

CLOSE_SECONDS = 2.0


class EventQueues:
    """Awaits what plugins returned for events, one after the other for each plugin.

    Args:
        hear: Awaits one; raises nothing.
    """

    def __init__(self, hear: Callable[[HookCall], Awaitable[None]]) -> None:
        self._hear = hear
        self._queues: dict[str, deque[HookCall]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def put(self, calls: Iterable[HookCall]) -> None:
        """Queue the plugins' answers to an event, and wait a moment for idle plugins."""
        idle = []
        for call in calls:
            queue = self._queues.setdefault(call.plugin, deque())
            if len(queue) >= CAPACITY:
                queue.popleft().close()
                logger.warning("the plugin %s is too slow for its events: one was dropped", call.plugin)
            queue.append(call)
            if call.plugin not in self._tasks or self._tasks[call.plugin].done():
                self._tasks[call.plugin] = asyncio.create_task(self._work(queue))
                idle.append(self._tasks[call.plugin])
        if idle:
            await asyncio.wait(idle, timeout=AT_ONCE)

    async def close(self) -> None:
        """Give plugins a moment for what waits."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CLOSE_SECONDS)
        for queue in self._queues.values():
            while queue:
                queue.popleft().close()

    async def _work(self, queue: deque[HookCall]) -> None:
        while queue:
            await self._hear(queue.popleft())


class _GuardedPlugin:
    """A plugin as pluggy calls it: its hooks return :class:`HookCall`, and raise nothing."""

    def __init__(self, name: str, plugin: object, guard: PluginGuard) -> None:
        for hook, function in implementations(plugin):
            setattr(self, hook, guard.wrap(name, hook, function))


class Plugins:
    """The loaded plugins: one typed method for each hook.

    A plugin that fails ends its own request with a clear error.

    Args:
        loaded: What :func:`bot_runner_worker.plugins.loading.load` returned.
        settings: The operator's time limits and grants.
    """

    def __init__(self, loaded: LoadedPlugins, settings: Settings) -> None:
        self._settings = settings
        self._timeout = settings.hook_timeout_seconds
        self.errors = PluginErrors()
        self.deploying = Calls()
        self.hearing = Calls()
        self.catalogue = loaded.catalogue
        self.reports = loaded.reports
        self._guard = PluginGuard(self.errors, trace=settings.plugins_trace)
        self._events = EventQueues(self._hear)
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(HookSpecs)
        for name, plugin in loaded.manager.list_name_plugin():
            self.manager.register(_GuardedPlugin(name, plugin, self._guard), name=name)

    async def close(self) -> None:
        """Give plugins a moment to hear of what has happened."""
        await self._events.close()

    def claim(self, params: Mapping[str, Any]) -> tuple[StartBot, DeploymentRequest[BaseModel]]:
        """Detect who serves a start request; see :meth:`.catalogue.SourceCatalogue.claim`."""
        # Validators of the params are the plugin's code.
        try:
            return self.catalogue.claim(params)
        except BaseException as error:  # noqa: BLE001
            mode = params.get("deployment_mode") if isinstance(params, Mapping) else None
            plugins = " or ".join(self.catalogue.owners(mode)) or "core"
            raise self._guard.failure(plugins, "deployment_sources", error)  # noqa: B904 - has its cause

    async def prepare_build_context(
        self, request: DeploymentRequest[Any], tools: Tools
    ) -> BuildContext | None:
        """The build context, or ``None`` where the mode builds nothing."""
        call = self._ask_owner("prepare_build_context", request, tools=tools)
        if call is None:
            return None
        seconds = self._timeout + 2 * self._settings.source_timeout_seconds
        context = await self._guard.answer(call, seconds, self.deploying)
        if context is not None and not isinstance(context, BuildContext):
            raise wrong_type(call.plugin, call.hook, context)
        if context is not None and getattr(context.tar, "closed", True):
            raise plugin_failed(call.plugin, call.hook, "returned a build context that is closed")
        return context

    async def resolve_image(
        self, request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
    ) -> Image:
        """The image to run from; the core builds the context if the plugin has no answer."""
        call = self._ask_owner("resolve_image", request, context=context, tools=tools)
        if call is not None:
            image = await self._guard.answer(call, self._timeout, self.deploying)
            if not isinstance(image, Image):
                raise wrong_type(call.plugin, call.hook, image)
            known = tools.images.known(image) if isinstance(tools.images, RequestImages) else None
            if known is None:
                what = "returned an image that it did not get from tools.images"
                raise plugin_failed(call.plugin, call.hook, what)
            return known
        if context is None:
            raise Rejected(
                Code.PLUGIN_FAILED,
                f"The plugin of {request.mode}/{request.source} neither built nor resolved an image.",
                hint=HINT,
            )
        return await tools.images.build(context, tools)

    async def container_options(
        self, request: DeploymentRequest[Any], image: Image, tools: Tools
    ) -> ContainerOptions:
        """All plugins' options, merged.

        A plugin that fails over another plugin's request is left out, with ``PLUGINS_STRICT`` unset: what it
        would have added cannot be what keeps the bot safe, since that is the core's.
        """
        owner = self.catalogue.owner(request.mode, request.source)
        calls = self.manager.hook.container_options(request=request, image=image, tools=tools)
        answers = await asyncio.gather(*map(self._options, calls), return_exceptions=True)
        contributions: dict[str, ContainerOptions] = {}
        for call, answer in zip(calls, answers, strict=True):
            failed = isinstance(answer, Rejected) and answer.code == Code.PLUGIN_FAILED
            if failed and call.plugin != owner and not self._settings.plugins_strict:
                logger.warning("the options of the plugin %s are left out: %s", call.plugin, answer)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer is not None:
                contributions[call.plugin] = answer
        return merge(sorted(contributions.items()))

    async def bot_event(self, event: BotEvent) -> None:
        """Tell all plugins of an event; a slow one hears of it later, and errors are logged."""
        await self._events.put(self.manager.hook.bot_event(event=event))

    def _ask_owner(self, hook: str, request: DeploymentRequest[Any], **arguments: Any) -> HookCall | None:
        """Call a hook of the plugin that serves the request; ``None`` if it has no answer."""
        owner = self.catalogue.owner(request.mode, request.source)
        others = [plugin for name, plugin in self.manager.list_name_plugin() if name != owner]
        caller = self.manager.subset_hook_caller(hook, remove_plugins=others)
        answers: list[HookCall] = caller(request=request, **arguments)
        return answers[0] if answers else None

    async def _options(self, call: HookCall) -> ContainerOptions | None:
        options = await self._guard.answer(call, self._timeout, self.deploying)
        if options is None:
            return None
        if not isinstance(options, ContainerOptions):
            raise wrong_type(call.plugin, call.hook, options)
        size = sum(len(data) for files in options.files for data in files.content.values())
        if size > self._settings.max_context_size:
            limit = self._settings.max_context_size
            what = f"asks for wrong files: more than {limit} bytes (MAX_CONTEXT_SIZE)"
            raise plugin_failed(call.plugin, call.hook, what, option="files")
        check_granted(call.plugin, options, self._settings.plugin_grants)
        return options

    async def _hear(self, call: HookCall) -> None:
        try:
            await self._guard.answer(call, self._timeout, self.hearing)
        except BotRunnerError as error:
            logger.warning("the plugin %s failed on an event: %s", call.plugin, error)
