"""Verdicts that the Engine cannot write down while its disk is full: remembered until it can."""

from collections.abc import Mapping
from typing import Any

from bot_runner_worker.bots.container_config import STOPPED_POLICY
from bot_runner_worker.engine import Engine, EngineError, containers


class PendingEndReasons:
    """Puts remembered verdicts where they would be read from.

    A worker that ends before there is room again forgets them; the bots are then brought back.

    Args:
        engine: The Engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._weights: dict[str, int] = {}

    def remember(self, container: str, weight: int) -> None:
        """Remember a verdict.

        Args:
            container: The container's id.
            weight: See :class:`bot_runner_worker.model.end_reasons.EndReason`.
        """
        self._weights[container] = weight

    def forget(self, container: str) -> None:
        """Forget a verdict that does not hold any more."""
        self._weights.pop(container, None)

    def read(self, container: Mapping[str, Any]) -> Mapping[str, Any]:
        """A container's description, with what is remembered of it."""
        weight = self._weights.get(container["Id"])
        if weight is None:
            return container
        host = {**container["HostConfig"], "RestartPolicy": STOPPED_POLICY, "CpuShares": weight}
        return {**container, "HostConfig": host}

    async def write(self) -> None:
        """Write down what there is room for by now.

        Raises:
            Unavailable: If the Engine does not answer.
        """
        for container, weight in list(self._weights.items()):
            try:
                await containers.set_policy(
                    self._engine, container, restart=STOPPED_POLICY, cpu_shares=weight
                )
            except EngineError as error:
                if not error.not_found:
                    continue
            self._weights.pop(container, None)
