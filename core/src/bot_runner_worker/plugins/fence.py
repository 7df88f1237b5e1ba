"""The fence: a plugin says in its own metadata for which versions of the core it was written.

pip checks it when it installs; a later upgrade of the core alone goes unnoticed until a hook breaks.
"""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bot_runner_worker.model.errors import PluginError

CORE_DISTRIBUTION = "bot-runner-worker"


def distribution_of(entry: EntryPoint) -> str:
    """The name of the distribution that brings a plugin, or else its module."""
    return entry.dist.name if entry.dist else entry.value


def check_fence(entry: EntryPoint) -> None:
    """Check the plugin's own ``bot-runner-worker>=x,<y`` against the running core.

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
                hint=f"Install a release of {distribution_of(entry)} that fits.",
            )


def fence_warning(entry: EntryPoint) -> str:
    """What is missing of a fence; empty if it has both sides."""
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
