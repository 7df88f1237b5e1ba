"""How well bots are kept apart from the host; see :mod:`bot_runner_worker.isolation.probe`."""

from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check
from bot_runner_worker.isolation.probe import probe_isolation
from bot_runner_worker.model.errors import BotRunnerError


async def isolation(here: CheckContext) -> Check:
    """Probe it from a throwaway container."""
    if here.settings.isolation_probe == "off":
        return findings.isolation_not_wanted()
    try:
        return findings.isolation(await probe_isolation(here.engine, here.settings))
    except BotRunnerError as error:
        return findings.isolation_not_probed(error)
