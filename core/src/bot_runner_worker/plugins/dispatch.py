"""The only place that calls deployment hooks and awaits what they return."""

import inspect
import logging
from collections.abc import Mapping
from typing import Any

import pluggy
from pydantic import BaseModel

from bot_runner_worker.errors import BotRunnerError, Code, Rejected
from bot_runner_worker.events import BotEvent
from bot_runner_worker.health.hanging import Calls
from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.images.image import Image
from bot_runner_worker.plugins.loading import LoadedPlugins
from bot_runner_worker.plugins.rules import HookRules
from bot_runner_worker.plugins.sources import DeploymentRequest, SourceCatalogue
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.requests import StartBot
from bot_runner_worker.runtime.grants import check_granted
from bot_runner_worker.runtime.option_checks import check_options
from bot_runner_worker.runtime.options import ContainerOptions, merge

logger = logging.getLogger(__name__)


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
        self.catalogue: SourceCatalogue = loaded.catalogue
        self.reports = loaded.reports

    def claim(self, params: Mapping[str, Any]) -> tuple[StartBot, DeploymentRequest[BaseModel]]:
        """Detect who serves a start request; see :meth:`SourceCatalogue.claim`."""
        try:
            return self.catalogue.claim(params)
        except BotRunnerError:
            raise
        except Exception as error:
            raise _plugin_failed("deployment_sources", error) from error

    async def prepare_build_context(
        self, request: DeploymentRequest[Any], tools: Tools
    ) -> BuildContext | None:
        """The build context, or ``None`` where the mode builds nothing."""
        result = await self._first("prepare_build_context", request=request, tools=tools)
        if result is not None and not isinstance(result, BuildContext):
            raise _wrong_type("prepare_build_context", result)
        return result

    async def resolve_image(
        self, request: DeploymentRequest[Any], context: BuildContext | None, tools: Tools
    ) -> Image:
        """The image to run from."""
        result = await self._first("resolve_image", request=request, context=context, tools=tools)
        if not isinstance(result, Image):
            raise _wrong_type("resolve_image", result)
        return result

    async def container_options(
        self, request: DeploymentRequest[Any], image: Image, tools: Tools
    ) -> ContainerOptions:
        """All plugins' options, merged."""
        contributions = []
        for name, plugin in self._manager.list_name_plugin():
            if plugin is None:
                continue
            for options in await self._each(
                plugin, "container_options", request=request, image=image, tools=tools
            ):
                if not isinstance(options, ContainerOptions):
                    raise _wrong_type("container_options", options)
                checked = check_options(name, options, max_files_size=self._rules.max_files_size)
                check_granted(name, checked, self._rules.grants)
                contributions.append((name, checked))
        return merge(contributions)

    async def bot_event(self, event: BotEvent) -> None:
        """Tell all plugins; what they raise is logged and changes nothing."""
        for name, plugin in self._manager.list_name_plugin():
            try:
                with self.hearing.under_way(f"bot_event of {name}"):
                    await self._each(plugin, "bot_event", event=event)
            except BotRunnerError as error:
                logger.warning("the plugin %s failed on %s: %s", name, event.type, error)

    async def _first(self, hook: str, **arguments: Any) -> Any:
        try:
            with self.deploying.under_way(hook):
                return await _settle(getattr(self._manager.hook, hook)(**arguments))
        except BotRunnerError:
            raise
        # A plugin is trusted code, but may be careless: whatever it raises ends its own request only.
        except (Exception, SystemExit) as error:
            raise _plugin_failed(hook, error) from error

    async def _each(self, plugin: object, hook: str, **arguments: Any) -> list[Any]:
        others = [each for each in self._manager.get_plugins() if each is not plugin]
        caller: pluggy.HookCaller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        try:
            results = [await _settle(result) for result in caller(**arguments)]
        except BotRunnerError:
            raise
        except (Exception, SystemExit) as error:
            raise _plugin_failed(hook, error) from error
        return [result for result in results if result is not None]


async def _settle(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _plugin_failed(hook: str, error: BaseException) -> Rejected:
    logger.error("a plugin failed in %s", hook, exc_info=error)
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin failed ({type(error).__name__} in {hook}).",
        hint="This is a fault of the plugin, not of the request; report it to the operator.",
        details={"hook": hook, "exception": type(error).__name__},
    )


def _wrong_type(hook: str, result: object) -> Rejected:
    return Rejected(
        Code.PLUGIN_FAILED,
        f"The deployment plugin returned {type(result).__name__} from {hook}.",
        hint="This is a fault of the plugin, not of the request; report it to the operator.",
        details={"hook": hook, "type": type(result).__name__},
    )
