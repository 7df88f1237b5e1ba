"""Hidden files of bots and builds: what the Engine leaves out when it adds up what a container has written.

These are files that were deleted but are open or mapped still, and those that the Engine lends to each
container (``/etc/hosts``, ``/etc/hostname``, ``/etc/resolv.conf``): they lie beside its disk, and root may
write them. Only the host's ``/proc`` shows all that, so a container of the base image looks there, for all
bots at once, wherever the worker itself runs: 0.4 s of the Engine's time. Of files that stay on their way
from one process to another, in a socket, it sees the number only.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from importlib import resources
from time import monotonic
from typing import NamedTuple

from bot_runner_worker.aio import DutyCycle
from bot_runner_worker.containers import json_answer, probe_container
from bot_runner_worker.engine import ENGINE_TROUBLE, Engine, containers
from bot_runner_worker.images.disk import Room
from bot_runner_worker.model.identity import PROBE_ROLE, BotKey
from bot_runner_worker.model.quantities import MIB
from bot_runner_worker.settings import Settings

logger = logging.getLogger(__name__)

INTERVAL = 30.0
"""Seconds between two counts."""

SHARE, URGENT_SHARE = 0.03, 0.15
"""Parts of the time that counting may take, in turn and out of turn."""

TIMEOUT = 30.0
"""Seconds after which a count is given up."""

_CAPABILITIES = ("SYS_PTRACE", "DAC_READ_SEARCH", "SYS_ADMIN")
"""For ``/proc/PID/fd`` and ``root`` of others, for their files, and for ``map_files``, see proc(5). Where the
Engine knows it, CHECKPOINT_RESTORE would do for the last."""

_KEY = BotKey("", f"{PROBE_ROLE}-hidden-files")
"""One container at a time in each namespace; see :func:`bot_runner_worker.containers.probe_key`."""

_PROGRAM = resources.files(__package__).joinpath("hidden_files_script.py").read_text()


class Hidden(NamedTuple):
    """What a bot hides.

    Args:
        size: Bytes of its hidden files.
        on_their_way: Files that stay in its sockets, of a size that nobody sees.
    """

    size: int = 0
    on_their_way: int = 0


class HiddenFiles:
    """Counts what bots' hidden files take, from time to time and when the disk's room shrinks quickly.

    Args:
        engine: The Engine.
        settings: ``container_disk_limit``: a count comes out of turn when the room is a quarter of it less.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._fall = settings.container_disk_limit // 4
        self._duty = DutyCycle(INTERVAL, SHARE)
        self._free: int | None = None
        self._failing = False

    def is_due(self, room: Room | None) -> bool:
        """Whether it is time to count.

        Args:
            room: The free space of the bots' disk, if it is known.
        """
        shrank = False
        if room is not None and self._free is not None:
            # Room that came back meanwhile must not hide what is taken next.
            self._free = max(self._free, room.size)
            shrank = self._free - room.size > self._fall
        return self._duty.is_due() or (shrank and self._duty.is_due(URGENT_SHARE))

    async def count(self, ids: Iterable[str], room: Room | None) -> Mapping[str, Hidden]:
        """Count hidden files; returns nothing if the Engine refuses.

        Args:
            ids: Of containers, which run.
            room: The free space of their disk, if it is known.
        """
        self._free = room.size if room is not None else None
        begun = monotonic()
        try:
            found = await self._ask(list(ids))
        except (*ENGINE_TROUBLE, TimeoutError, ValueError) as error:
            if not self._failing:
                logger.warning(
                    "hidden files of bots cannot be counted: %s", str(error) or type(error).__name__
                )
            self._failing = True
            return {}
        finally:
            self._duty.looked(monotonic() - begun)
        self._failing = False
        return found

    async def _ask(self, ids: list[str]) -> dict[str, Hidden]:
        if not ids:
            return {}
        name, config = probe_container(
            self._settings,
            ["python3", "-c", _PROGRAM],
            key=_KEY,
            user="0:0",
            memory=256 * MIB,
            environment={"CONTAINERS": json.dumps(ids)},
        )
        host = config["HostConfig"]
        # The host's processes and user ids, but not its files, network or devices.
        host |= {"PidMode": "host", "UsernsMode": "host", "CapAdd": list(_CAPABILITIES)}
        # Where SELinux is on, containers do not see each other.
        host["SecurityOpt"] = [*host["SecurityOpt"], "label=disable"]
        # What a worker that was killed has left.
        await containers.remove(self._engine, name)
        found = await json_answer(self._engine, name, config, seconds=TIMEOUT)
        return {each: Hidden(*numbers) for each, numbers in found.items()}
