"""The orchestrator: whether it answers, and takes this worker's token."""

from rxon.constants import PROTOCOL_VERSION

from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.settings import NO_TOKEN

TOKEN = "worker token"  # noqa: S105 (the name of a check)

_ACCEPTED = 400
"""Answer to a worker that passes the check of its token, and then asks for no WebSocket after all."""
_REFUSED = (401, 403)


async def reachable(here: CheckContext) -> Check:
    """Whether it answers."""
    url, answer = here.settings.orchestrator_url, here.orchestrator
    if answer.status is None:
        return findings.orchestrator_gone(f"{url} does not answer ({answer.problem})")
    if answer.status != 200:
        return findings.orchestrator_gone(f"{url} answers with status {answer.status}")
    if answer.protocol not in (None, PROTOCOL_VERSION):
        return Check(
            findings.ORCHESTRATOR,
            State.WARNING,
            f"{url} speaks the protocol {answer.protocol}, this worker {PROTOCOL_VERSION}",
            "Run the versions of orchestrator and worker that belong together.",
        )
    return Check(findings.ORCHESTRATOR, State.OK, url)


async def token(here: CheckContext) -> Check:
    """Whether it takes this worker's token."""
    settings, status = here.settings, here.orchestrator.token_status
    if settings.worker_token.get_secret_value() == NO_TOKEN:
        return Check(
            TOKEN,
            State.FAILED,
            "WORKER_TOKEN is not set",
            "Set it to the orchestrator's GLOBAL_WORKER_TOKEN.",
        )
    if status is None:
        return Check(TOKEN, State.WARNING, "not tried: the orchestrator does not answer")
    if status in _REFUSED:
        return Check(
            TOKEN,
            State.FAILED,
            f"the orchestrator refuses it for the worker {settings.worker_id}",
            "Set WORKER_TOKEN to the orchestrator's GLOBAL_WORKER_TOKEN, or to the one that it has for this "
            "WORKER_ID.",
        )
    if status != _ACCEPTED:
        return Check(
            TOKEN,
            State.WARNING,
            f"not known: the orchestrator answered with status {status}",
            "See the worker's log: it says whether it could register.",
        )
    return Check(TOKEN, State.OK, f"accepted for the worker {settings.worker_id}")
