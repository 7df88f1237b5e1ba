"""Calling plugins: whatever one does fails its own request with a clear error."""

import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from tests.core.plugin_factory import COMPLETE, PluginFolder

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.requests import StrictModel
from bot_runner_worker.plugins.catalogue import DeploymentRequest
from bot_runner_worker.plugins.tools import RequestImages

REQUEST: DeploymentRequest[Any] = DeploymentRequest(BotKey("user", "bot"), "m", "s", StrictModel())


class AnyImage(RequestImages):
    """Takes any image for one that it has returned."""

    def known(self, image: Image) -> Image:
        return image


TOOLS: Any = SimpleNamespace(images=AnyImage(SimpleNamespace()))  # type: ignore[arg-type]
SERVES = COMPLETE.format(mode="m", source="s")


async def test_the_plugin_that_serves_the_request_is_asked_and_no_other(plugin_folder: PluginFolder) -> None:
    greedy = "@hookimpl\ndef resolve_image(request):\n    return Image('sha256:a', 'a')\n"
    broken = "@hookimpl\ndef resolve_image(request):\n    raise RuntimeError\n"
    for name, code in [("a", greedy), ("c", broken)]:
        plugin_folder.add(name, code)
    plugin_folder.add(
        "b",
        SERVES + "async def image():\n    return Image('sha256:b', 'b')\n"
        "@hookimpl\ndef resolve_image(request):\n    return image()\n",
    )
    assert await plugin_folder.plugins().resolve_image(REQUEST, None, TOOLS) == Image("sha256:b", "b")


async def test_where_the_plugin_has_no_answer_the_core_has(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("a", SERVES + "@hookimpl\ndef resolve_image(request):\n    return None\n")
    with pytest.raises(Rejected) as caught:
        await plugin_folder.plugins().resolve_image(REQUEST, None, TOOLS)
    assert "neither built nor resolved" in caught.value.message


async def test_options_of_all_plugins_are_merged_and_conflicts_name_both(plugin_folder: PluginFolder) -> None:
    for name, options in [
        ("a", "user='1', environment={'A': '1'}"),
        ("b", "command=('x',), environment={'B': '2'}"),
        ("c", "environment={'A': 'other'}"),
    ]:
        plugin_folder.add(
            name, f"@hookimpl\ndef container_options():\n    return ContainerOptions({options})\n"
        )
    image = Image("sha256:b", "b")
    plugins = plugin_folder.plugins()
    with pytest.raises(Rejected) as caught:
        await plugins.container_options(REQUEST, image, TOOLS)
    assert sorted(caught.value.details["plugins"]) == ["a", "c"]
    plugins.manager.unregister(name="c")
    merged = await plugins.container_options(REQUEST, image, TOOLS)
    assert (merged.user, merged.command, merged.environment) == ("1", ("x",), {"A": "1", "B": "2"})


async def test_a_listener_that_fails_changes_nothing(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("bad", "@hookimpl\ndef bot_event(event):\n    raise RuntimeError\n")
    plugin_folder.add("good", "heard = []\n@hookimpl\ndef bot_event(event):\n    heard.append(event.type)\n")
    plugins = plugin_folder.plugins()
    await plugins.bot_event(BotEvent(EventType.STARTED, BotKey("u", "b"), "m", datetime.now(UTC)))
    good: Any = sys.modules["plugin_good"]
    assert good.heard == ["bot_started"]


async def test_a_plugin_may_be_an_object_with_methods(plugin_folder: PluginFolder) -> None:
    code = """
class Plugin:
    @hookimpl
    def deployment_sources(self): return [DeploymentSource("m", "s", StrictModel, "a test")]
    @hookimpl
    def resolve_image(self, tools, request): return image(request.mode)
    @hookimpl(tryfirst=True)
    def container_options(self, image): return ContainerOptions(user=image.reference)
async def image(mode): return Image('sha256:b', mode)
plugin = Plugin()
"""
    plugin_folder.add("a", code, attribute="plugin")
    plugins = plugin_folder.plugins()
    image = await plugins.resolve_image(REQUEST, None, TOOLS)
    assert (await plugins.container_options(REQUEST, image, TOOLS)).user == "m"
