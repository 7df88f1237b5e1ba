"""The rows, in groups that are measured together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.rows import (
    burst,
    context,
    crowd,
    first_poll,
    logs,
    orchestrator,
    redeploy,
    replace,
    requirements,
    start,
)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share what they are measured with.

    Args:
        summary: What is measured.
        measure: Does it.
        quick: Whether ``--quick`` has it.
    """

    summary: str
    measure: Callable[[Bench], Awaitable[None]]
    quick: bool = False


GROUPS = {
    "start": Group("start with known dependencies, new code", start.measure, quick=True),
    "requirements": Group("start with requirements that were never seen", requirements.measure),
    "first-poll": Group("start to the bot's first getUpdates", first_poll.measure),
    "replace": Group("replacement of a running bot", replace.measure, quick=True),
    "burst": Group("sixteen starts at once; one after another tenant's many", burst.measure, quick=True),
    "redeploy": Group("unchanged redeploy in every mode", redeploy.measure),
    "orchestrator": Group("job posted to bot running, through the orchestrator", orchestrator.measure),
    "logs": Group("the last lines of a large log", logs.measure),
    "context": Group("worker memory with a large build context", context.measure),
    "crowd": Group("10, 50 and 200 bots: growth, list_bots, worker memory", crowd.measure, quick=True),
}
