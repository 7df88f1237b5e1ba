"""Several workers' claims in one namespace, with a presence that ends soon."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from tests.conftest import ENGINE

from bot_runner_worker.coordination import Coordination, liveness
from bot_runner_worker.coordination.claims import Claims
from bot_runner_worker.engine import Engine, volumes
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.settings import Settings

PRESENCE_SECONDS = 5.0
"""Short enough to wait for, long enough for a busy machine to renew it in time."""


@pytest.fixture
def short_presence(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let who is not heard of for some seconds be dead."""
    monkeypatch.setattr(liveness, "PRESENCE_SECONDS", PRESENCE_SECONDS)
    return PRESENCE_SECONDS


class Workers:
    """Workers on one Engine, reduced to their coordination."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.namespace = f"test-{uuid4().hex[:12]}"
        self._made: list[Coordination] = []

    def worker(self, worker_id: str = "") -> Coordination:
        """One more worker."""
        settings = Settings.load(
            worker_token="x",
            runner_namespace=self.namespace,
            worker_id=worker_id or f"worker-{uuid4().hex[:12]}",
        )
        made = Coordination(self.engine, settings)
        self._made.append(made)
        return made

    async def volumes(self) -> list[str]:
        """Names of all volumes of this namespace."""
        return sorted(await volumes.list_by_labels(self.engine, {NAMESPACE: self.namespace}))

    async def close(self) -> None:
        """Close all workers, and remove what is left of those that were killed."""
        for each in self._made:
            await each.close()
        for name in await self.volumes():
            await volumes.remove(self.engine, name)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    """Workers in a namespace of their own."""
    async with Engine(ENGINE) as engine:
        made = Workers(engine)
        try:
            yield made
        finally:
            await made.close()


def kill(claims: Claims) -> None:
    """Stop whatever a worker does by itself, as SIGKILL would; what it holds stays on the Engine."""
    if claims._upkeep is not None:
        claims._upkeep.cancel()
    claims._holdings._held.clear()
    claims._presence._left.clear()
