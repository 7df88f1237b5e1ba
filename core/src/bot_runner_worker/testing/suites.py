"""The conformance suite of an installed plugin: its own, or its schema's examples."""

from importlib.metadata import entry_points
from typing import Any, ClassVar

from bot_runner_worker.testing.conformance import PluginConformance

GROUP = "bot_runner_worker.conformance"
"""Entry-point group: a plugin's name, and its subclass of :class:`PluginConformance`."""


class ExampleConformance(PluginConformance):
    """A suite for plugins that announce none; their errors are not known."""

    cases_needed: ClassVar[bool] = False


def suite_of(plugin: str) -> type[PluginConformance]:
    """The suite of an installed plugin.

    Raises:
        TypeError: If what it announces is no suite of this plugin.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == plugin:
            suite = entry.load()
            if not (isinstance(suite, type) and issubclass(suite, PluginConformance)):
                raise TypeError(f"{entry.value} is no subclass of PluginConformance")
            if suite.plugin != plugin:
                raise TypeError(f"{entry.value} is the suite of {suite.plugin}, not of {plugin}")
            return suite
    return type(
        "ExampleConformance",
        (ExampleConformance,),
        {"plugin": plugin, "valid": _examples(plugin), "on_engine": ()},
    )


def _examples(plugin: str) -> dict[str, dict[str, Any]]:
    from bot_runner_worker.runner import load_plugins
    from bot_runner_worker.testing.memory_runner import memory_settings

    found: dict[str, dict[str, Any]] = {}
    loaded = load_plugins(memory_settings(plugins_allowed=plugin))
    for source in loaded.catalogue.of_plugin(plugin):
        for number, example in enumerate(source.params.model_json_schema().get("examples", ())):
            name = f"{source.mode}/{source.name}, example {number + 1}"
            found[name] = {"deployment_mode": source.mode, **example}
    return found
