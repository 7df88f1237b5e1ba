"""How work tells the bot's author that it goes on."""

from collections.abc import Awaitable, Callable
from typing import Protocol

Progress = Callable[[str, float | None], Awaitable[None]]
"""Called with a few words, and how much of the work is done (0 to 1) if that is known."""


class Deployment(Protocol):
    """What images are obtained for: the tenant who pays for the turn, and the author who is told."""

    @property
    def tenant(self) -> str:
        """The tenant, for whom images that are not shared are kept apart."""
        ...

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell the bot's author what is going on.

        Args:
            message: A few words; never a secret.
            fraction: How much of this stage is done, 0 to 1, if that is known.
        """
        ...
