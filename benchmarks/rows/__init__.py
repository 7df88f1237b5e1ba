"""The rows, in groups that are measured together."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchmarks.bench import Bench
from benchmarks.rows import crowd, running, starts


class Group(NamedTuple):
    """Rows that share what they are measured with: what it is, how, and whether ``--quick`` has it."""

    summary: str
    measure: Callable[[Bench], Awaitable[None]]
    quick: bool = False


GROUPS = {
    "start": Group("start with known dependencies, new code", starts.known, quick=True),
    "requirements": Group("start with requirements that were never seen", starts.requirements),
    "first-poll": Group("start to the bot's first getUpdates", starts.first_poll),
    "replace": Group("replacement of a running bot", running.replace, quick=True),
    "burst": Group("sixteen starts at once", running.burst, quick=True),
    "redeploy": Group("unchanged redeploy in every mode", running.redeploy),
    "orchestrator": Group("job posted to bot running, through the orchestrator", running.orchestrator),
    "logs": Group("the last lines of a large log", running.logs),
    "crowd": Group("10, 50 and 200 bots: growth, list_bots, worker memory", crowd.measure, quick=True),
}
