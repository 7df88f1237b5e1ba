"""Checks of the worker's configuration: plugins, trusted registries, orchestrator, and its token."""

from rxon.constants import PROTOCOL_VERSION

from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import CheckResult, failed, ok, orchestrator_gone, warning
from bot_runner_worker.runner import load_plugins
from bot_runner_worker.settings import NO_TOKEN

_ACCEPTED = 400
"""The status for a worker whose token is accepted, and that then opens no WebSocket."""
_REFUSED = (401, 403)


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


async def credentials(context: CheckContext) -> CheckResult:
    """Check who sees the user and password of the operator's proxies and package index."""
    settings = context.settings
    names = " and ".join(settings.with_credentials())
    if not names:
        return ok("none in HTTP_PROXY, HTTPS_PROXY or PACKAGE_INDEX_URL")
    if settings.share_credentials == "on":
        return warning(
            f"every bot, and every step of a build, is shown those in {names}",
            "Set SHARE_CREDENTIALS to off, or use credentials that are worth nothing to a stranger.",
        )
    return warning(
        f"those in {names} are used to install wheels, and hidden from bots and builds, which may need them",
        "Let the servers take the bots' addresses without a password, or set SHARE_CREDENTIALS to on.",
    )


async def orchestrator(context: CheckContext) -> CheckResult:
    """Check whether the orchestrator answers."""
    url, answer = context.settings.orchestrator_url, context.orchestrator
    if answer.status is None:
        return orchestrator_gone(f"{url} does not answer ({answer.problem})")
    if answer.status != 200:
        return orchestrator_gone(f"{url} answers with status {answer.status}")
    if answer.protocol not in (None, PROTOCOL_VERSION):
        return warning(
            f"{url} speaks the protocol {answer.protocol}, this worker {PROTOCOL_VERSION}",
            "Run the versions of orchestrator and worker that belong together.",
        )
    return ok(url)


async def token(context: CheckContext) -> CheckResult:
    """Check whether the orchestrator accepts this worker's token."""
    settings, status = context.settings, context.orchestrator.token_status
    if settings.worker_token.get_secret_value() == NO_TOKEN:
        return failed("WORKER_TOKEN is not set", "Set it to the orchestrator's GLOBAL_WORKER_TOKEN.")
    if status is None:
        return warning("not tried: the orchestrator does not answer")
    if status in _REFUSED:
        return failed(
            f"the orchestrator refuses it for the worker {settings.worker_id}",
            "Set WORKER_TOKEN to the orchestrator's GLOBAL_WORKER_TOKEN, or to the one that it has for this "
            "WORKER_ID.",
        )
    if status != _ACCEPTED:
        return warning(
            f"not known: the orchestrator answered with status {status}",
            "See the worker's log: it says whether it could register.",
        )
    facts = context.engine_facts
    engine = f", whose Docker Engine is {facts.info.get('ID', '?')}" if facts else ""
    return ok(f"accepted for the worker {settings.worker_id}{engine}")
