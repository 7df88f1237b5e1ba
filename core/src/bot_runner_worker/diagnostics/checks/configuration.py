"""What is installed and configured: the plugins, and whose images are trusted."""

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.runner import load_plugins

PLUGINS = "plugins"
REGISTRIES = "registries"


async def plugins(here: CheckContext) -> Check:
    """Whether they load, and offer a mode."""
    loaded = load_plugins(here.settings.model_copy(update={"plugins_strict": False}))
    refused = [report for report in loaded.reports if report.status == "refused"]
    offered = [source for report in loaded.reports for source in report.sources]
    if refused:
        return Check(
            PLUGINS,
            State.FAILED,
            "; ".join(report.problem for report in refused),
            "See bot-runner-worker plugins.",
        )
    if not offered:
        return Check(
            PLUGINS,
            State.WARNING,
            "none offers a deployment mode",
            "Install one: pip install bot-runner-plugin-simple",
        )
    return Check(PLUGINS, State.OK, ", ".join(offered))


async def registries(here: CheckContext) -> Check:
    """Whether users may send the Engine to any registry."""
    allowed = here.settings.registries_allowed
    if "*" in allowed:
        return Check(
            REGISTRIES,
            State.WARNING,
            "users may name any registry, and a hostile one can send the Engine on to inner addresses, or "
            "use up its memory",
            "List the registries that you trust in REGISTRIES_ALLOWED.",
        )
    return Check(REGISTRIES, State.OK, f"{len(allowed)} allowed")
