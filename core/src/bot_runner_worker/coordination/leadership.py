"""Who of several workers looks after the bots."""

import asyncio

from bot_runner_worker.coordination.claim import Claim, Kind
from bot_runner_worker.coordination.claims import Claims


class Leadership:
    """The claim on looking after all bots of a namespace: one worker has it at a time, until it ends.

    Args:
        claims: Where claims are taken.
    """

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._claim: Claim | None = None
        self._asking = asyncio.Lock()

    async def held(self) -> bool:
        """Whether this worker is the one; it becomes the one if no other is.

        Raises:
            Unavailable: If the Engine does not answer.
        """
        async with self._asking:
            if self._claim is None or not self._claims.holds(self._claim):
                self._claim = await self._renewed()
            return self._claim is not None

    async def _renewed(self) -> Claim | None:
        claims = self._claims
        claim = await claims.try_take(claims.names.supervisor(), Kind.SUPERVISOR, on_loss=self._lost)
        if not claim.mine and self._claim is not None and claim.token == self._claim.token:
            return self._claim
        if not claim.mine and await claims.remove_if_void(claim):
            claim = await claims.try_take(claims.names.supervisor(), Kind.SUPERVISOR, on_loss=self._lost)
        return claim if claim.mine else None

    def release(self) -> None:
        """Let another worker do it."""
        if self._claim is not None:
            self._claims.release(self._claim)
            self._claim = None

    def _lost(self) -> None:
        self._claim = None
