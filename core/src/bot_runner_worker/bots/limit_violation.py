"""What a watch finds, and where it looks."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.identity import BOT_ID, NAMESPACE, ROLE, BotKey

_RUNNING = ("running", "restarting")


@dataclass(frozen=True, slots=True)
class LimitViolation:
    """A bot that takes more than it may.

    Args:
        bot: Whose bot it is.
        container: Id of its container.
        verdict: What for it is ended.
        details: Facts for the event, such as ``limit_bytes``.
    """

    bot: BotKey
    container: str
    verdict: EndReason
    details: Mapping[str, int] = field(default_factory=dict)


OnExcess = Callable[[LimitViolation], Awaitable[None]]


async def running_bots(engine: Engine, namespace: str) -> dict[str, BotKey]:
    """The bots that run, by the ids of their containers; 10 ms for 50.

    Args:
        engine: The Engine.
        namespace: The runner's.
    """
    rows = await containers.list_by_labels(engine, {NAMESPACE: namespace, ROLE: "bot"})
    return {
        row["Id"]: BotKey.from_labels(row["Labels"])
        for row in rows
        if row["State"] in _RUNNING and BOT_ID in row["Labels"]
    }
