"""Loading plugins from entry points: a broken one is reported and left out.

``pluggy`` has a loader of its own, but one plugin that fails to import would end it.
"""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bot_runner_worker.hookspecs import PROJECT, HookSpecs
from bot_runner_worker.model.errors import PluginError
from bot_runner_worker.plugins.catalogue import DeploymentSource, SourceCatalogue

CORE_DISTRIBUTION = "bot-runner-worker"


@dataclass(frozen=True, slots=True)
class PluginReport:
    """What became of one plugin.

    Args:
        name: Its entry point's name.
        distribution: The distribution that it comes from.
        version: That distribution's version.
        status: ``loaded``, ``disabled`` or ``refused``.
        problem: Why it was refused or disabled.
        hint: What to do about it.
        warning: What is wrong with it although it is loaded.
        sources: ``mode/source`` pairs that it offers.
        hooks: Names of the hooks that it implements.
    """

    name: str
    distribution: str
    version: str
    status: str
    problem: str = ""
    hint: str = ""
    warning: str = ""
    sources: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedPlugins:
    """The loaded plugins, their sources, and a report for each plugin."""

    manager: pluggy.PluginManager
    catalogue: SourceCatalogue
    reports: tuple[PluginReport, ...]


def load(
    *,
    allowed: Iterable[str] = (),
    disabled: Iterable[str] = (),
    safe_mode: bool = False,
    strict: bool = False,
    found: Iterable[EntryPoint] | None = None,
) -> LoadedPlugins:
    """Load all plugins of the entry-point group ``bot_runner_worker``.

    Args:
        allowed: Names of plugins to load, if not all.
        disabled: Names of plugins to leave out all the same.
        safe_mode: Leave out all of them.
        strict: Raise at the first problem instead of leaving the plugin out.
        found: Entry points to use instead of the installed ones.

    Raises:
        PluginError: Only if ``strict``.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    catalogue = SourceCatalogue()
    allowed, disabled = set(allowed), set(disabled)
    reports = []
    for entry in _unique(entry_points(group=PROJECT) if found is None else found):
        distribution = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")
        report = partial(PluginReport, entry.name, *distribution)
        if reason := _why_disabled(entry.name, allowed, disabled, safe_mode):
            reports.append(report("disabled", reason))
            continue
        try:
            _register(manager, catalogue, entry)
        except PluginError as error:
            if strict:
                raise
            reports.append(report("refused", error.message, error.hint))
            continue
        offered = tuple(f"{source.mode}/{source.name}" for source in catalogue.of_plugin(entry.name))
        hooks = tuple(hook for hook, _ in implementations(manager.get_plugin(entry.name)))
        warning = compatibility_warning(entry)
        reports.append(report("loaded", warning=warning, sources=offered, hooks=hooks))
    return LoadedPlugins(manager, catalogue, tuple(reports))


def _why_disabled(name: str, allowed: set[str], disabled: set[str], safe_mode: bool) -> str:
    if safe_mode:
        return "PLUGINS_SAFE_MODE is set."
    if name in disabled:
        return "It is named in PLUGINS_DISABLED."
    if allowed and name not in allowed:
        return "It is not named in PLUGINS_ALLOWED."
    return ""


def _unique(found: Iterable[EntryPoint]) -> Iterator[EntryPoint]:
    # An editable install beside a wheel lists the same entry point twice.
    seen = set()
    for entry in sorted(found, key=lambda each: each.name):
        if (entry.name, entry.value) not in seen:
            seen.add((entry.name, entry.value))
            yield entry


def _register(manager: pluggy.PluginManager, catalogue: SourceCatalogue, entry: EntryPoint) -> None:
    check_compatibility(entry)
    try:
        plugin = entry.load()
    # A plugin may raise anything at all while it is imported, SystemExit included.
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"The plugin {entry.name} cannot be imported: {type(error).__name__}: {error}",
            hint=f"Reinstall or remove the distribution {_distribution_of(entry)}.",
        ) from error
    if manager.get_plugin(entry.name) is not None:
        raise PluginError(
            f"Two plugins are named {entry.name}.", hint="Uninstall one of them, or rename its entry point."
        )
    _check_hooks(entry.name, plugin)
    try:
        manager.register(plugin, name=entry.name)
        for source in _sources(entry.name, plugin):
            catalogue.add(entry.name, source)
    except (Exception, SystemExit) as error:
        catalogue.remove(entry.name)
        if manager.get_plugin(entry.name) is not None:
            manager.unregister(name=entry.name)
        if isinstance(error, PluginError):
            raise
        raise PluginError(
            f"The plugin {entry.name} does not fit the hooks: {error}",
            hint="Compare its functions with bot_runner_worker.hookspecs.",
        ) from error


def implementations(plugin: object) -> Iterator[tuple[str, Any]]:
    """Yield names and functions of the hooks that a plugin implements."""
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        if inspect.isroutine(function) and getattr(function, f"{PROJECT}_impl", None):
            yield name, function


def _check_hooks(name: str, plugin: object) -> None:
    known = {hook for hook in dir(HookSpecs) if not hook.startswith("_")}
    for hook, function in implementations(plugin):
        if hook not in known:
            raise PluginError(
                f"The plugin {name} implements a hook {hook}, which does not exist.",
                hint=f"Hooks: {', '.join(sorted(known))}.",
            )
        asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if asynchronous or inspect.isgeneratorfunction(function):
            way = "'async def'" if asynchronous else "a generator"
            raise PluginError(
                f"The plugin {name} implements {hook} with {way}.",
                hint="Use a plain 'def' that returns None at once if the request is not the plugin's, or "
                "else the coroutine of a second function.",
            )


def _sources(name: str, plugin: object) -> list[DeploymentSource]:
    offer = dict(implementations(plugin)).get("deployment_sources")
    offered = None if offer is None else offer()
    if offered is None:
        return []
    if not isinstance(offered, list) or not all(isinstance(each, DeploymentSource) for each in offered):
        raise PluginError(
            f"The plugin {name} returns something else than a list of DeploymentSource from "
            "deployment_sources.",
            hint="Return a list, empty if the plugin offers no mode.",
        )
    return offered


def _distribution_of(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


def check_compatibility(entry: EntryPoint) -> None:
    """Check the core's version against a plugin's own metadata.

    pip checks them when it installs; a later upgrade of the core alone would go unnoticed.

    Raises:
        PluginError: If the running core is outside.
    """
    try:
        running = version(CORE_DISTRIBUTION)
    except PackageNotFoundError:
        return
    for requirement in _pins(entry):
        if not requirement.specifier.contains(running, prereleases=True):
            raise PluginError(
                f"The plugin {entry.name} needs {requirement}, but this is {CORE_DISTRIBUTION} {running}.",
                hint=f"Install a release of {_distribution_of(entry)} that fits.",
            )


def compatibility_warning(entry: EntryPoint) -> str:
    """What the required versions lack; empty if they have a lower and an upper bound."""
    advice = "Ask its author for a pin such as bot-runner-worker>=0.1,<0.2."
    pins = list(_pins(entry))
    if not pins:
        return f"It does not say for which versions of {CORE_DISTRIBUTION} it was written. {advice}"
    operators = {each.operator for pin in pins for each in pin.specifier}
    if not operators & {"<", "<=", "==", "===", "~="}:
        return f"It admits any later version of {CORE_DISTRIBUTION}, also one that breaks it. {advice}"
    return ""


def _pins(entry: EntryPoint) -> Iterator[Requirement]:
    for text in (entry.dist.requires or []) if entry.dist else []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        # One that belongs to an extra says nothing about the plugin as it is.
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if canonicalize_name(requirement.name) == CORE_DISTRIBUTION:
            yield requirement
