"""The seam between what a bot is and where it runs.

Tasks know :class:`BotRuntime` only, and the supervisor of one Engine :class:`SupervisedRuntime`.
:mod:`.docker_runtime` implements both; another implementation may place bots on a cluster.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bot_runner_worker.bots.container_state import ContainerState, Snapshot
from bot_runner_worker.engine.events import ContainerEvent
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.spec import BotRecord, BotSpec, EndReason


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


class Action(StrEnum):
    """What to do about a bot next."""

    SETTLE = "settle"
    """Leave one container, under its name."""
    FINISH = "finish"
    """Stop it: whoever noted its end reason died before that."""
    GIVE_UP = "give up"
    ACCEPT_EXIT = "accept exit"
    EXPIRE = "expire"
    WARN = "warn"
    """Say that its time is nearly over."""
    END_BOOST = "end boost"
    """Bring it down to its CPU limit: the worker that started it died before that."""
    REVIVE = "revive"
    """Make it run, unpaused and connected to its network."""
    WAIT = "wait"
    """Look again soon."""
    REMOVE = "remove"
    """It has been readable for long enough."""
    RELEASE_NETWORKS = "release networks"
    """Remove the networks that were made for it and that none of its containers refers to."""


class BotRuntime(Protocol):
    """Where bots run, as tasks see it. All calls see the bots of one namespace only."""

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

    async def end(self, record: BotRecord, reason: EndReason = EndReason.STOPPED) -> None:
        """Stop the bot for good, and keep it readable.

        It stays stopped whatever happens to the Engine.

        Args:
            record: The bot. With ``CRASHED``, its exit code and whether it ran out of memory are kept.
            reason: Why; the bot's record says so from now on.
        """
        ...

    async def remove(self, record: BotRecord) -> None:
        """Remove the bot and all that was made for it."""
        ...

    async def logs(self, bot: BotKey, *, lines: int, since: str | None) -> tuple[BotRecord, LogPage] | None:
        """The bot, and the last lines of its output; ``None`` if there is no such bot.

        Raises:
            Rejected: ``INVALID_FIELD`` if ``since`` is neither a former ``next_since`` nor an RFC 3339 time.
        """
        ...


class SupervisedRuntime(BotRuntime, Protocol):
    """Where bots run, as their supervisor sees it."""

    def events(self, since: float) -> AsyncGenerator[ContainerEvent, None]:
        """Events of the bots' containers, see :mod:`bot_runner_worker.engine.events`."""
        ...

    async def inspect_all(self, known: Snapshot) -> Snapshot:
        """Inspect all bots' containers.

        Args:
            known: What still holds unless the Engine's list says otherwise.

        Raises:
            Unavailable: If the Engine does not answer, or is about to end while a bot is down.
        """
        ...

    async def inspect(self, bot: BotKey, *, size: bool = False) -> tuple[ContainerState, ...]:
        """Inspect one bot's containers, whatever is known about them.

        Args:
            bot: The bot.
            size: Also add up what they have written.
        """
        ...

    async def act(self, action: Action, bot: BotKey, found: tuple[ContainerState, ...]) -> None:
        """Change a bot's containers or networks, without ending the bot.

        Args:
            action: ``SETTLE``, ``REVIVE``, ``WARN``, ``END_BOOST`` or ``RELEASE_NETWORKS``.
            bot: The bot; the caller holds it exclusively.
            found: All its containers.
        """
        ...

    async def sweep(self, at_work: Callable[[], bool]) -> tuple[int, set[BotKey]]:
        """Remove what killed workers and Engines left besides bots.

        Args:
            at_work: Tells whether this worker is working on anything.

        Returns:
            How many things were removed, and the bots that have a network that no container refers to.
        """
        ...
