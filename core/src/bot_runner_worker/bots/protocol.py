"""The seam between what a bot is and where it runs.

Use cases know this protocol only. :mod:`.docker_engine` implements it on one Docker Engine; another
implementation may place bots on a cluster.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot_runner_worker.bots.container_state import ContainerState, Survey
from bot_runner_worker.engine.events import ContainerEvent
from bot_runner_worker.model.end_reasons import EndReason
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.spec import BotRecord, BotSpec


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


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One run of the Engine, from its start to its end.

    Args:
        id: Tells it from its other runs; empty if the Engine tells nothing.
        began_at: When it began, if that is known.
    """

    id: str = ""
    began_at: datetime | None = None


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

    async def end(self, record: BotRecord, verdict: EndReason) -> None:
        """Stop the bot for good and keep it readable; it stays stopped whatever happens to the Engine.

        Args:
            record: The bot. With ``CRASHED``, its exit code and whether it ran out of memory are kept.
            verdict: Why; the bot's record says so from now on.
        """
        ...

    async def stop(self, record: BotRecord) -> None:
        """:meth:`end` it on request."""
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

    async def find_with_logs(
        self, bot: BotKey, *, lines: int, since: str | None
    ) -> tuple[BotRecord, LogPage] | None:
        """:meth:`find` and :meth:`logs` in one, which takes less time; ``None`` if there is no such bot."""
        ...

    def events(self, since: float) -> AsyncGenerator[ContainerEvent, None]:
        """What happens to the bots' containers, see :mod:`bot_runner_worker.engine.events`."""
        ...

    async def disk_use(self, record: BotRecord) -> int:
        """How many bytes a bot has written to its writable layer; 0 if it is gone."""
        ...

    async def current_run(self) -> EngineRun:
        """The Engine's current run."""
        ...

    async def check_not_ending(self) -> None:
        """Make sure that the Engine is not about to end.

        Raises:
            Unavailable: If it is, or does not answer.
        """
        ...

    async def survey(self, known: Mapping[str, ContainerState]) -> Survey:
        """Look at all bots.

        Args:
            known: Sightings that hold unless the Engine's list says otherwise, by container id.
        """
        ...

    async def look_at(self, bot: BotKey) -> tuple[ContainerState, ...]:
        """Look at one bot's containers, whatever is known about them."""
        ...

    async def revive(self, sighting: ContainerState) -> None:
        """Make a bot's container run, unpaused and connected to its network."""
        ...

    async def settle(self, bot: BotKey, sightings: tuple[ContainerState, ...]) -> None:
        """Leave one container of a bot under its name, or nothing of a bot that has none.

        Args:
            bot: The bot.
            sightings: All its containers.
        """
        ...

    async def end_burst(self, record: BotRecord) -> None:
        """Bring a bot down to its CPU limit that has had time enough to start."""
        ...

    async def mark_warned(self, record: BotRecord) -> None:
        """Note with the bot that it was told that its time is nearly over."""
        ...

    async def bots_with_unused_networks(self) -> set[BotKey]:
        """The bots for which a network was made that no container refers to."""
        ...

    async def release_networks(self, bot: BotKey) -> None:
        """Remove the networks that were made for a bot and that none of its containers refers to."""
        ...

    async def sweep(self, at_work: Callable[[], Awaitable[bool]]) -> int:
        """Remove what killed workers and Engines left besides bots; returns how many things that were.

        Args:
            at_work: Tells whether any worker is working on anything.
        """
        ...

    async def remove_all(self, *, keep_images: bool = False) -> int:
        """Remove each bot and everything else of this namespace; returns how many bots there were.

        Raises:
            Unavailable: ``ENGINE_FAILED`` if something stays in use.
        """
        ...
