"""The only place that calls deployment hooks and awaits what they return."""

import logging
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any

import pluggy
from pydantic import BaseModel

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import BotRunnerError, Code, Rejected
from bot_runner_worker.model.events import BotEvent
from bot_runner_worker.model.grants import check_granted
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.option_checks import check_options
from bot_runner_worker.model.options import ContainerOptions, merge
from bot_runner_worker.model.requests import StartBot
from bot_runner_worker.plugins import failures
from bot_runner_worker.plugins.catalogue import DeploymentRequest, SourceCatalogue
from bot_runner_worker.plugins.events import EventQueue, tell_all
from bot_runner_worker.plugins.guard import PluginGuard
from bot_runner_worker.plugins.handed_out import RequestImages
from bot_runner_worker.plugins.hanging import Calls
from bot_runner_worker.plugins.loading import CORE_NAME, LoadedPlugins
from bot_runner_worker.plugins.rules import HookRules
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.plugins.troubles import PluginErrors

logger = logging.getLogger(__name__)

SUSPENSION = 300.0
"""Seconds for which a plugin that took too long over another one's request is asked about its own only."""


class Plugins:
    """Each hook wrapped once, typed: a plugin that misbehaves fails its own request with a clear error.

    Args:
        loaded: What :func:`bot_runner_worker.plugins.loading.load` returned.
        rules: The operator's.
    """

    def __init__(self, loaded: LoadedPlugins, rules: HookRules | None = None) -> None:
        self._rules = rules or HookRules()
        self._manager = loaded.manager
        self.deploying = Calls()
        self.hearing = Calls()
        self.troubles = PluginErrors()
        self._guard = PluginGuard(self._rules, self.troubles)
        self._suspended_until: dict[str, float] = {}
        self._mailboxes: dict[str, EventQueue] = {}
        self.catalogue: SourceCatalogue = loaded.catalogue
        self.reports = loaded.reports

    @property
    def manager(self) -> pluggy.PluginManager:
        """Who is loaded; hooks are called by this class alone, and by tests."""
        return self._manager

    async def close(self) -> None:
        """Give plugins a moment to hear of what has happened."""
        for mailbox in self._mailboxes.values():
            await mailbox.close()

    def claim(self, params: Mapping[str, Any]) -> tuple[StartBot, DeploymentRequest[BaseModel]]:
        """Detect who serves a start request; see :meth:`SourceCatalogue.claim`."""
        owners = self.catalogue.owners(params.get("deployment_mode") if isinstance(params, Mapping) else None)
        claimed: tuple[StartBot, DeploymentRequest[BaseModel]] = self._guard.call(
            " or ".join(owners) or CORE_NAME, "deployment_sources", lambda: self.catalogue.claim(params)
        )
        return claimed

    async def prepare_build_context(
        self, request: DeploymentRequest[Any], tools: Tools
    ) -> BuildContext | None:
        """The build context, or ``None`` where the mode builds nothing."""
        seconds = self._rules.timeout + 2 * self._rules.source_timeout
        plugin, result = await self._owners("prepare_build_context", seconds, request=request, tools=tools)
        if result is not None and not isinstance(result, BuildContext):
            raise failures.wrong_type(plugin, "prepare_build_context", result)
        if result is not None and getattr(result.tar, "closed", True):
            raise failures.unusable(plugin, "prepare_build_context", "a build context that is closed")
        return result

    async def resolve_image(
        self, request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
    ) -> Image:
        """The image to run from: one that was got from the tools."""
        arguments = {"request": request, "context": context, "tools": tools}
        plugin, result = await self._owners("resolve_image", self._rules.timeout, **arguments)
        if not isinstance(result, Image):
            raise failures.wrong_type(plugin, "resolve_image", result)
        if isinstance(tools.images, RequestImages):
            known = tools.images.known(result)
            if known is None:
                what = "an image that it did not get from tools.images"
                raise failures.unusable(plugin, "resolve_image", what)
            return known
        return result

    async def container_options(
        self, request: DeploymentRequest[Any], image: Image, tools: Tools
    ) -> ContainerOptions:
        """All plugins' options, merged.

        One that breaks off over another plugin's request is left out, with ``PLUGINS_STRICT`` unset: what it
        would have added cannot be what keeps the bot safe, since that is the core's.
        """
        owner = self.catalogue.owner(request.mode, request.source)
        contributions = []
        for name in self._names():
            if name != owner and monotonic() < self._suspended_until.get(name, 0):
                continue
            try:
                for options in await self._options(name, request=request, image=image, tools=tools):
                    contributions.append((name, options))  # noqa: PERF401
            except Rejected as error:
                if error.code != Code.PLUGIN_FAILED or name == owner or self._rules.strict:
                    raise
                logger.warning("the options of the plugin %s are left out: %s", name, error)
                if "limit_seconds" in error.details:
                    # Not again the same delay for everybody.
                    self._suspended_until[name] = monotonic() + SUSPENSION
        return merge(contributions)

    async def _options(self, name: str, **arguments: Any) -> list[ContainerOptions]:
        results = await self._answers(
            name, "container_options", self._rules.timeout, self.deploying, **arguments
        )
        options = []
        for result in results:
            if not isinstance(result, ContainerOptions):
                raise failures.wrong_type(name, "container_options", result)
            # The checks read what the plugin made, which may be code of its own.
            check = partial(check_options, name, result, max_files_size=self._rules.max_files_size)
            checked: ContainerOptions = self._guard.call(name, "container_options", check)
            check_granted(name, checked, self._rules.grants)
            options.append(checked)
        return options

    async def bot_event(self, event: BotEvent) -> None:
        """Tell all plugins; one that is slow hears of it later, and what they raise changes nothing."""
        listening = [name for name in self._names() if self._caller(name, "bot_event").get_hookimpls()]
        await tell_all([self._mailbox(name) for name in listening], event)

    def _mailbox(self, name: str) -> EventQueue:
        async def tell(event: BotEvent) -> None:
            try:
                await self._answers(name, "bot_event", self._rules.timeout, self.hearing, event=event)
            except BotRunnerError as error:
                logger.warning("the plugin %s failed on %s: %s", name, event.type, error)

        return self._mailboxes.setdefault(name, EventQueue(name, tell))

    async def _owners(self, hook: str, seconds: float, **arguments: Any) -> tuple[str, Any]:
        """Ask the plugin that serves the request, and the core if it has no answer; says who answered.

        No other plugin is asked: one that answers for, or breaks off over, whatever comes along would do so
        to everybody.
        """
        request: DeploymentRequest[Any] = arguments["request"]
        owner = self.catalogue.owner(request.mode, request.source)
        for name in (owner, CORE_NAME):
            if name is None or self._manager.get_plugin(name) is None:
                continue
            caller = self._caller(name, hook)
            if not caller.get_hookimpls():
                continue
            if name == CORE_NAME:
                # Our own: bounded by its own limits, and not to be blamed on a plugin.
                answer = caller(**arguments)
                return owner or name, None if answer is None else await answer
            answer = await self._guard.ask(
                name, hook, partial(_mine, caller, arguments), seconds=seconds, calls=self.deploying
            )
            if answer is not _NOT_MINE:
                return name, answer
        return owner or CORE_NAME, None

    async def _answers(
        self, name: str, hook: str, seconds: float, calls: Calls, **arguments: Any
    ) -> list[Any]:
        caller = self._caller(name, hook)
        if not caller.get_hookimpls():
            return []
        results = self._guard.call(name, hook, lambda: caller(**arguments))
        answers = [
            await self._guard.ask(name, hook, partial(_same, result), seconds=seconds, calls=calls)
            for result in results
        ]
        return [answer for answer in answers if answer is not None]

    def _names(self) -> list[str]:
        plugins = self._manager.list_name_plugin()
        return [name for name, plugin in plugins if plugin is not None and name != CORE_NAME]

    def _caller(self, name: str, hook: str) -> pluggy.HookCaller:
        plugin = self._manager.get_plugin(name)
        others = [each for each in self._manager.get_plugins() if each is not plugin]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)


_NOT_MINE = object()


def _mine(caller: pluggy.HookCaller, arguments: Mapping[str, Any]) -> Any:
    # An awaitable of None is an answer, None itself is none.
    answer = caller(**arguments)
    return _NOT_MINE if answer is None else answer


def _same(result: Any) -> Any:
    return result
