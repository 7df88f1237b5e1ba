"""Claims on the Engine, by which several workers on it do not get in each other's way.

A **claim** is a volume: creating one is an atomic test-and-set, since the Engine answers with the volume that
has the name already. Its labels say whose it is (:mod:`.claims`).

A claim holds for as long as its owner is there. Each process has a **presence**: a volume whose name carries
a number that it counts up every few seconds. Who looks on while one and the same number stays for
``PRESENCE_SECONDS`` of its own monotonic clock takes that process for dead, and its claims for void
(:mod:`.liveness`). No wall clock is involved, and time in which the Engine did not answer does not count.

``WORKER_ID`` must be unique among the workers that run: a process that starts under the id of another takes
it for dead at once, and its claims for void.
"""

from bot_runner_worker.coordination.claims import Claims
from bot_runner_worker.coordination.leadership import Leadership
from bot_runner_worker.coordination.stop_requests import StopRequests
from bot_runner_worker.engine import Engine
from bot_runner_worker.settings import Settings

__all__ = ["Claims", "Coordination", "Leadership", "StopRequests"]


class Coordination:
    """What one worker needs to share an Engine with others.

    Args:
        engine: The Engine.
        settings: Namespace and id of the worker.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.claims = Claims(engine, settings)
        self.stop_requests = StopRequests(engine, settings)
        self.leadership = Leadership(self.claims)

    @property
    def instance(self) -> str:
        """Names this process among all workers, past and present."""
        return self.claims.instance

    async def settled(self) -> None:
        """Wait until all that was given back is gone from the Engine."""
        await self.stop_requests.settled()
        await self.claims.settled()

    async def close(self) -> None:
        """Give up all claims, and leave nothing on the Engine."""
        await self.stop_requests.close()
        await self.claims.close()
