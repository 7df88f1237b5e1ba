"""The bots' containers as the Engine has them, whatever the stack says or is able to say."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from bot_runner_stack.commands import run_command
from bot_runner_worker.model.identity import NAMESPACE, ROLE

_QUESTION_SECONDS = 30
_FORMAT = "{{.Name}} {{.Id}} {{.State.StartedAt}}"


@dataclass(frozen=True)
class BotContainer:
    """A bot's container. As long as it equals what it was, the bot ran on all the time."""

    name: str
    container_id: str
    started_at: str


async def bots_of(namespace: str) -> list[BotContainer]:
    """The containers of a runner's bots that run, ordered by name. Raises StackError."""
    # The worker's own containers, which come and go, have another role.
    filters = ("--filter", f"label={NAMESPACE}={namespace}", "--filter", f"label={ROLE}=bot")
    ids = (await _docker("ps", "--quiet", *filters)).split()
    if not ids:
        return []
    lines = (await _docker("inspect", "--format", _FORMAT, *ids)).splitlines()
    return [BotContainer(*line.lstrip("/").split()) for line in sorted(lines)]


async def leftovers_of(namespace: str) -> list[str]:
    """Ids or names of all that carries a runner's label: containers, networks, volumes, images."""
    filters = ("--quiet", "--filter", f"label={NAMESPACE}={namespace}")
    kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"), ("image", "ls"))
    answers = await asyncio.gather(*(_docker(*kind, *filters) for kind in kinds))
    return [
        f"{kind[0]} {name}" for kind, answer in zip(kinds, answers, strict=True) for name in answer.split()
    ]


async def _docker(*arguments: str) -> str:
    return await run_command(["docker", *arguments], env={}, cwd=Path.cwd(), seconds=_QUESTION_SECONDS)
