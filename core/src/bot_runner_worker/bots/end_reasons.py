"""End reasons on the Engine: restart policies and CPU weights of containers."""

from collections.abc import Mapping
from typing import Any

from bot_runner_worker.bots.container_config import RUNNING_POLICY, STOPPED_POLICY
from bot_runner_worker.engine import Engine, EngineError, containers
from bot_runner_worker.model.spec import NORMAL_WEIGHT, WARNED_WEIGHT, BotRecord, EndReason, Termination


class EndReasonStore:
    """Keeps end reasons with the bots' containers.

    While its disk is full, the Engine cannot write them down: they are pending, and read as if they were
    written. A worker that ends before there is room again forgets them; the bots are then brought back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pending: dict[str, int] = {}

    async def write(self, record: BotRecord, reason: EndReason) -> bool:
        """Note that a bot should not run any more, and why.

        Returns:
            Whether that is done, or pending. The Engine cannot change a bot that starts or ends in this
            moment.
        """
        weight = Termination(reason, record.exit_code, record.oom_killed).weight
        try:
            await self._write(record.id, weight)
        except EngineError as error:
            if error.disk_full:
                self._pending[record.id] = weight
                return True
            return error.not_found
        return True

    async def clear(self, record: BotRecord) -> None:
        """Note that a bot should run again."""
        weight = WARNED_WEIGHT if record.warned else NORMAL_WEIGHT
        await containers.set_policy(self._engine, record.id, restart=RUNNING_POLICY, cpu_shares=weight)
        self._pending.pop(record.id, None)

    async def mark_warned(self, container: str) -> None:
        """Note that a bot was told that its time is nearly over."""
        await containers.set_policy(self._engine, container, cpu_shares=WARNED_WEIGHT)

    def read(self, container: Mapping[str, Any]) -> Mapping[str, Any]:
        """A container's description, with the end reason that is pending."""
        weight = self._pending.get(container["Id"])
        if weight is None:
            return container
        host = {**container["HostConfig"], "RestartPolicy": STOPPED_POLICY, "CpuShares": weight}
        return {**container, "HostConfig": host}

    async def write_pending(self) -> None:
        """Write what is pending and what there is room for by now."""
        for container, weight in list(self._pending.items()):
            try:
                await self._write(container, weight)
            except EngineError as error:
                if not error.not_found:
                    continue
            self._pending.pop(container, None)

    async def _write(self, container: str, weight: int) -> None:
        await containers.set_policy(self._engine, container, restart=STOPPED_POLICY, cpu_shares=weight)
