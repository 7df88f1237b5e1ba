"""The catalogue of modes and sources, and the choice of a request's source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from bot_runner_worker.model.errors import Code, PluginError, Rejected
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.requests import StartBot, parse

Params = TypeVar("Params", bound=BaseModel, covariant=True)


@dataclass(frozen=True, slots=True)
class DeploymentSource:
    """One way to get a bot's code, offered by a plugin.

    Args:
        mode: The ``deployment_mode`` that requests name.
        name: The source's name inside the mode; two plugins may serve one mode with different sources.
        params: Pydantic model of the fields that this source takes; a :class:`StrictModel` as a rule. Its
            validators may raise :class:`~bot_runner_worker.model.errors.Rejected` with a code of their own.
        summary: One line for people.
        selected_by: Fields whose presence in a request selects this source among those of its mode.
    """

    mode: str
    name: str
    params: type[BaseModel]
    summary: str
    selected_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeploymentRequest(Generic[Params]):
    """A start request that a plugin serves.

    Args:
        bot: Whose bot it is.
        mode: The deployment mode.
        source: Name of the source inside the mode.
        params: The validated params of the source's model.
    """

    bot: BotKey
    mode: str
    source: str
    params: Params


@dataclass(slots=True)
class SourceCatalogue:
    """All sources on offer, with their plugins."""

    _sources: dict[tuple[str, str], tuple[str, DeploymentSource]] = field(default_factory=dict)

    def add(self, plugin: str, source: DeploymentSource) -> None:
        """Offer a source.

        Raises:
            PluginError: If another plugin offers the same mode and source, or a field is already taken.
        """
        common = set(StartBot.model_fields)
        if taken := common & set(source.params.model_fields):
            raise PluginError(
                f"The source {source.mode}/{source.name} of the plugin {plugin} uses the fields "
                f"{', '.join(sorted(taken))}, which every request has.",
                hint="Rename these fields of its params model.",
            )
        owner = self.owner(source.mode, source.name)
        if owner is not None:
            raise PluginError(
                f"The plugins {owner} and {plugin} both offer the mode {source.mode} with the source "
                f"{source.name}.",
                hint="Uninstall one of them, or name it in PLUGINS_DISABLED.",
            )
        self._sources[source.mode, source.name] = (plugin, source)

    def remove(self, plugin: str) -> None:
        """Remove all that a plugin offers."""
        self._sources = {key: entry for key, entry in self._sources.items() if entry[0] != plugin}

    def modes(self) -> dict[str, dict[str, str]]:
        """Summaries by mode and source name."""
        return {
            mode: {name: source.summary for name, source in sources.items()}
            for mode, sources in self._by_mode().items()
        }

    def owner(self, mode: str, source: str) -> str | None:
        """The plugin that offers a source."""
        plugin, _ = self._sources.get((mode, source), (None, None))
        return plugin

    def owners(self, mode: object) -> list[str]:
        """The plugins that offer a mode's sources."""
        return sorted({plugin for plugin, source in self._sources.values() if source.mode == mode})

    def of_plugin(self, plugin: str) -> list[DeploymentSource]:
        """What one plugin offers."""
        return [source for owner, source in self._sources.values() if owner == plugin]

    def claim(self, params: Mapping[str, Any]) -> tuple[StartBot, DeploymentRequest[BaseModel]]:
        """Choose the source that serves a start request, and validate the request.

        Args:
            params: The raw params of ``start_bot``.

        Raises:
            Rejected: With the code of what is wrong, and what is on offer instead.
        """
        common_fields = set(StartBot.model_fields)
        start = parse(StartBot, {name: params[name] for name in params if name in common_fields})
        own = {name: value for name, value in params.items() if name not in common_fields}
        source = self._select(start.deployment_mode, own)
        request = DeploymentRequest(start.bot, source.mode, source.name, parse(source.params, own))
        return start, request

    def _by_mode(self) -> dict[str, dict[str, DeploymentSource]]:
        """Sources by mode and name, sorted."""
        found: dict[str, dict[str, DeploymentSource]] = {}
        for (mode, name), (_, source) in sorted(self._sources.items()):
            found.setdefault(mode, {})[name] = source
        return found

    def _select(self, mode: str, own: Mapping[str, Any]) -> DeploymentSource:
        modes = self._by_mode()
        if mode not in modes:
            raise Rejected(
                Code.INVALID_DEPLOYMENT_MODE,
                f"The deployment mode {mode!r} is not on offer here.",
                hint=f"Modes on offer: {', '.join(modes) or 'none'}.",
                details={"modes": list(modes)},
                stage="request",
            )
        sources = modes[mode]
        only = next(iter(sources.values()))
        if len(sources) == 1 and not only.selected_by:
            return only
        selected = [source for source in sources.values() if source.selected_by & own.keys()]
        if len(selected) == 1:
            return selected[0]
        ways = "; ".join(
            f"{name} ({' or '.join(sorted(source.selected_by))})" for name, source in sources.items()
        )
        details = {
            "mode": mode,
            "sources": {name: sorted(each.selected_by) for name, each in sources.items()},
        }
        if not selected:
            raise Rejected(
                Code.MISSING_SOURCE,
                f"The request does not say where the code of the mode {mode!r} comes from.",
                hint=f"Give one of these sources: {ways}.",
                details=details,
                stage="request",
            )
        raise Rejected(
            Code.CONFLICTING_SOURCES,
            f"The request names several sources: {', '.join(sorted(each.name for each in selected))}.",
            hint=f"Give exactly one of these sources: {ways}.",
            details=details,
            stage="request",
        )

    def routing_schema(self) -> dict[str, Any]:
        """JSON schema by which the orchestrator picks a worker for ``start_bot``.

        It only routes: a request fits if its mode and source are on offer here, or if it names no source at
        all, so that bad input reaches a worker and gets a proper error instead of no worker.
        """
        common = sorted(StartBot.model_fields)
        # True, not {}, which means the same: scripts inside the orchestrator's Redis turn {} into [].
        without_source = {"additionalProperties": False, "properties": dict.fromkeys(common, True)}
        branches: list[dict[str, Any]] = []
        for mode, sources in self._by_mode().items():
            fits: dict[str, Any] = {"properties": {"deployment_mode": {"enum": [mode]}}}
            fields = sorted({name for source in sources.values() for name in source.selected_by})
            if fields:
                fits["anyOf"] = [{"required": [name]} for name in fields] + [without_source]
            branches.append(fits)
        return {"type": "object", "anyOf": branches} if branches else {"type": "object", "not": True}

    def request_schema(self) -> dict[str, Any]:
        """Full JSON schema of a start request, for documentation and editors."""
        common = StartBot.model_json_schema()
        branches = []
        for (mode, name), (_, source) in sorted(self._sources.items()):
            schema = source.params.model_json_schema()
            schema["title"] = f"{mode}/{name}: {source.summary}"
            schema.setdefault("properties", {})["deployment_mode"] = {"const": mode}
            schema.pop("additionalProperties", None)
            branches.append(schema)
        common.pop("additionalProperties", None)
        return {**common, "oneOf": branches}
