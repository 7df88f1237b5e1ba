"""Checks of the worker's own configuration: plugins, and trusted registries."""

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import CheckResult, failed, ok, warning
from bot_runner_worker.runner import load_plugins


async def plugins(context: CheckContext) -> CheckResult:
    """Check whether the plugins load, and offer a mode."""
    loaded = load_plugins(context.settings.model_copy(update={"plugins_strict": False}))
    refused = [report for report in loaded.reports if report.status == "refused"]
    offered = [source for report in loaded.reports for source in report.sources]
    if refused:
        return failed("; ".join(report.problem for report in refused), "See bot-runner-worker plugins.")
    if not offered:
        return warning("none offers a deployment mode", "Install one: pip install bot-runner-plugin-simple")
    return ok(", ".join(offered))


async def registries(context: CheckContext) -> CheckResult:
    """Check whether users may send the Engine to any registry."""
    allowed = context.settings.registries_allowed
    if "*" in allowed:
        return warning(
            "users may name any registry, and a hostile one can send the Engine on to inner addresses, or "
            "use up its memory",
            "List the registries that you trust in REGISTRIES_ALLOWED.",
        )
    return ok(f"{len(allowed)} allowed")
