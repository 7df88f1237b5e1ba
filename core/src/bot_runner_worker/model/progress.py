"""Protocols for progress that the bot's author sees."""

from collections.abc import Awaitable, Callable
from typing import Protocol

Progress = Callable[[str, float | None], Awaitable[None]]
"""Called with a few words, and how much of the work is done (0 to 1) if that is known."""


class Deployment(Protocol):
    """A deployment for which images are obtained."""

    @property
    def tenant(self) -> str:
        """The tenant, who alone uses images that are not shared."""
        ...

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Report progress to the bot's author.

        Args:
            message: A few words; never a secret.
            fraction: How much of this stage is done, 0 to 1, if that is known.
        """
        ...
