"""What a claim is, and how it reads on the Engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from bot_runner_worker.model.identity import BOT_ID, INSTANCE, KIND, TOKEN, WORKER_ID, BotKey

OnLoss = Callable[[], None]
"""Called if others took this process for dead, and its claim for void."""


class Kind(StrEnum):
    """What is done under a claim."""

    WORK = "work"
    """Anything with a bot, but starting it."""
    START = "start"
    """Starting a bot; holds one of its tenant's places."""
    QUOTA = "quota"
    """Counting a tenant's bots."""
    MAKING = "making"
    """Making what is no bot's: an image beforehand, or a better one afterwards."""
    SUPERVISOR = "supervisor"
    """Looking after all bots."""
    VOID = "void"
    """Removing a void claim."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, this process's or another's.

    Args:
        name: The volume's name: what is claimed.
        kind: What is done under it.
        token: Tells it from all other claims of this name.
        instance: The process whose it is.
        mine: Whether this process has just taken it.
        labels: All its labels.
    """

    name: str
    kind: str
    token: str
    instance: str
    mine: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def worker_id(self) -> str:
        """The worker whose it is."""
        return self.labels.get(WORKER_ID, "")

    @property
    def bot(self) -> BotKey | None:
        """The bot that it is about, if it is about one."""
        return BotKey.from_labels(self.labels) if BOT_ID in self.labels else None

    @classmethod
    def read(cls, name: str, labels: Mapping[str, str], *, mine: bool = False) -> Self:
        """Read a claim from its volume."""
        read = labels.get
        return cls(name, read(KIND, ""), read(TOKEN, ""), read(INSTANCE, ""), mine, labels)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What there is on the Engine at one moment.

    Args:
        claims: All claims that are not void, this process's own among them.
        stop_requests: Tokens of the starts that somebody wants to end.
    """

    claims: list[Claim]
    stop_requests: frozenset[str]
