"""How well bots are kept apart from the host; see :mod:`bot_runner_worker.isolation.probe`."""

from bot_runner_worker.checks.surroundings import Surroundings
from bot_runner_worker.errors import BotRunnerError
from bot_runner_worker.health import findings
from bot_runner_worker.health.findings import Check
from bot_runner_worker.isolation.probe import probe_isolation


async def isolation(here: Surroundings) -> Check:
    """Probe it from a throwaway container."""
    if here.settings.isolation_probe == "off":
        return findings.isolation_not_wanted()
    try:
        return findings.isolation(await probe_isolation(here.engine, here.settings))
    except BotRunnerError as error:
        return findings.isolation_not_probed(error)
