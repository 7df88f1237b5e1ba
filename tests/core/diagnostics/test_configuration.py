"""What the doctor says about the worker's own configuration: plugins, and registries that are trusted."""

from importlib.metadata import entry_points

import pytest
from tests.core.diagnostics.conftest import Look
from tests.core.plugin_factory import PluginFolder, settings_with

from bot_runner_worker.diagnostics.checks import configuration
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.hookspecs import PROJECT
from bot_runner_worker.plugins.manager import Plugins

pytestmark = pytest.mark.slow


async def test_trusting_every_registry_is_pointed_out(look: Look) -> None:
    assert (await configuration.registries(await look())).state is State.OK
    found = await configuration.registries(await look(registries_allowed="*"))
    assert found.state is State.WARNING
    assert "REGISTRIES_ALLOWED" in found.remedy


async def test_credentials_are_pointed_out_and_never_shown(look: Look) -> None:
    assert (await configuration.credentials(await look())).state is State.OK
    proxy = "http://operator:sentinel-proxy@proxy.example:3128"
    for shared, words in (("off", "hidden from bots"), ("on", "every bot")):
        found = await configuration.credentials(await look(https_proxy=proxy, share_credentials=shared))
        assert found.state is State.WARNING
        assert "HTTPS_PROXY" in found.finding
        assert words in found.finding
        assert "SHARE_CREDENTIALS" in found.remedy
        assert "sentinel-proxy" not in str(found)


async def test_the_installed_plugins_are_named(look: Look) -> None:
    found = await configuration.plugins(await look())
    assert found.state is State.OK
    assert "simple/simple" in found.finding


async def test_a_plugin_that_does_not_load_is_a_failure(
    look: Look, plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_folder.add("broken", "raise RuntimeError('no')")
    loaded = Plugins(plugin_folder.load(), settings_with())
    monkeypatch.setattr(configuration, "load_plugins", lambda _: loaded)
    found = await configuration.plugins(await look())
    assert found.state is State.FAILED
    assert "broken" in found.finding


async def test_a_worker_without_modes_is_pointed_out(look: Look) -> None:
    everything = ",".join(entry.name for entry in entry_points(group=PROJECT))
    found = await configuration.plugins(await look(plugins_disabled=everything))
    assert (found.state, found.finding) == (State.WARNING, "none offers a deployment mode")
