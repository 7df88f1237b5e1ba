"""The seam between what a bot is and where it runs.

Use cases know this protocol only. :mod:`.docker_engine` implements it on one Docker Engine; another
implementation may place bots on a cluster.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot_runner_worker.identity import BotKey
from bot_runner_worker.runtime.spec import BotRecord, BotSpec


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a bot's output.

    Args:
        text: The lines, oldest first.
        truncated: Whether older lines, or a part of them, were left out for their size.
        next_since: Where the next part begins; opaque to clients.
    """

    text: str
    truncated: bool
    next_since: str


class BotRuntime(Protocol):
    """Where bots run. All calls see the bots of one namespace only."""

    async def find(self, bot: BotKey) -> BotRecord | None:
        """The bot, live or not, or ``None``."""
        ...

    async def list_bots(self, user_id: str | None = None) -> list[BotRecord]:
        """All bots, or one tenant's, in the order of their deployment."""
        ...

    async def launch(self, spec: BotSpec, replacing: BotRecord | None = None) -> BotRecord:
        """Start a bot.

        Two containers of one bot never run at once: everything of the new one is made ready first, then
        ``replacing`` is stopped, and it is brought back if the new one does not start. Whatever happens,
        nothing half-made is left.

        Raises:
            Rejected: ``START_FAILED`` if it cannot start.
        """
        ...

    async def restart(self, record: BotRecord) -> BotRecord:
        """Stop the bot if it is live, and start it again from the same container."""
        ...

    async def stop(self, record: BotRecord) -> None:
        """Stop the bot and keep it readable; it stays stopped whatever happens to the Engine."""
        ...

    async def remove(self, record: BotRecord) -> None:
        """Remove the bot and all that was made for it."""
        ...

    async def logs(self, record: BotRecord, *, lines: int, since: str | None) -> LogPage:
        """The last lines of the bot's output.

        Raises:
            Rejected: ``INVALID_FIELD`` if ``since`` is neither a former ``next_since`` nor an RFC 3339 time.
        """
        ...

    async def sweep(self, now: datetime) -> int:
        """Finish or remove what a killed worker left half-made; returns how many things that were."""
        ...

    async def remove_all(self, *, keep_images: bool = False) -> int:
        """Remove each bot and everything else of this namespace; returns how many bots there were."""
        ...
