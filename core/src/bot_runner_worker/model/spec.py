"""A bot as it should run, as it is found, and why it was ended for good."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.options import ContainerOptions
from bot_runner_worker.model.results import BotStatus

NORMAL_WEIGHT = 1024
"""Docker's own weight among CPU shares."""

WARNED_WEIGHT = 1023
"""Weight of a running bot that has been told that its time is nearly over; too near to make a difference."""

_CRASHED_WEIGHT = 2048
_OUT_OF_MEMORY = 256


class EndReason(IntEnum):
    """Why a bot was ended for good.

    The Engine lets two things of a container be changed later and keeps them through all restarts: its
    restart policy and its limits. The policy says whether the bot should run; its weight among CPU shares,
    which means nothing for a container that does not run, says why not. The values are those weights;
    Docker's default weight is 1024.
    """

    STOPPED = NORMAL_WEIGHT
    """On request."""
    EXPIRED = 1025
    """Its time was over."""
    EXITED = 1026
    """It ended by itself, with exit code 0."""
    CRASHED = 1027
    """It failed too often and was given up."""
    DISK_LIMIT = 1028
    """It wrote more than it may."""
    LOG_FLOOD = 1029
    """It printed more than it may."""


@dataclass(frozen=True, slots=True)
class Termination:
    """An end for good, as the weight of a container says it.

    Args:
        reason: Why the bot was ended.
        exit_code: Exit code of the last failure, if it crashed: a bot that is given up may be running again
            by then, and what the container says afterwards comes from being stopped.
        oom_killed: Whether that failure was for want of memory, if it crashed.
    """

    reason: EndReason
    exit_code: int | None = None
    oom_killed: bool | None = None

    @property
    def weight(self) -> int:
        """The CPU shares that stand for it."""
        if self.reason is EndReason.CRASHED and self.exit_code is not None:
            return _CRASHED_WEIGHT + (self.exit_code & 0xFF) + bool(self.oom_killed) * _OUT_OF_MEMORY
        return int(self.reason)

    @classmethod
    def of_weight(cls, weight: int) -> "Termination":
        """Read it back; a weight that stands for nothing is a bot stopped on request."""
        if _CRASHED_WEIGHT <= weight < _CRASHED_WEIGHT + 2 * _OUT_OF_MEMORY:
            detail = weight - _CRASHED_WEIGHT
            return cls(EndReason.CRASHED, detail & 0xFF, detail >= _OUT_OF_MEMORY)
        try:
            return cls(EndReason(weight))
        except ValueError:
            return cls(EndReason.STOPPED)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a bot may use.

    Args:
        memory: Bytes, without swap.
        cpu: Cores.
        pids: Processes and threads.
    """

    memory: int
    cpu: float
    pids: int


@dataclass(frozen=True, slots=True)
class BotSpec:
    """A bot as it should run.

    Args:
        bot: Whose it is.
        mode: Deployment mode.
        source: Source inside the mode.
        image: What it runs from.
        options: The plugins' options, merged.
        environment: The request's variables; they win over the options' and the image's.
        limits: Memory, CPU and processes.
        request_digest: Names the request, so that the same one delivered twice is recognised.
        started_at: Now.
        expires_at: When it will be stopped.
    """

    bot: BotKey
    mode: str
    source: str
    image: Image
    options: ContainerOptions
    environment: Mapping[str, str]
    limits: Limits
    request_digest: str
    started_at: datetime
    expires_at: datetime

    def digest(self) -> str:
        """Hex SHA-256 of all that makes a difference to the running bot."""
        options = self.options
        return digest_of(
            {
                "image": self.image.content,
                "command": options.command,
                "entrypoint": options.entrypoint,
                "environment": {**options.environment, **self.environment},
                "working_dir": options.working_dir,
                "user": options.user,
                "files": [files.digest() for files in options.files],
                "labels": dict(options.labels),
                "tmpfs": dict(options.tmpfs),
                # Left out where there is none: bots of before this was known keep their digest.
                **({"openings": granted} if (granted := _granted(options)) else {}),
                "limits": [self.limits.memory, self.limits.cpu, self.limits.pids],
            }
        )


def _granted(options: ContainerOptions) -> dict[str, Any]:
    found: dict[str, Any] = {
        "devices": sorted(astuple(device) for device in options.devices),
        "mounts": sorted(astuple(mount) for mount in options.mounts),
        "capabilities": sorted(options.capabilities),
        "gpus": options.gpus,
    }
    return {name: value for name, value in found.items() if value}


def digest_of(data: Any) -> str:
    """Hex SHA-256 of JSON-like data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class BotRecord:
    """A bot as the runtime finds it.

    Args:
        bot: Whose it is.
        status: Where it is in its life.
        id: The container's id.
        name: The container's name.
        mode: Deployment mode.
        source: Source inside the mode.
        image: Reference that it was started from.
        request_digest: See :class:`BotSpec`.
        spec_digest: See :meth:`BotSpec.digest`.
        started_at: When it was deployed.
        expires_at: When it will be stopped.
        finished_at: When it ended, if it did.
        exit_code: With which code it last ended, if it did.
        oom_killed: Whether it ran out of memory.
        restart_count: How often it was restarted after a failure.
        reason: Why it is not running, in words.
        end_reason: Why it was ended for good, if it was.
        warned: Whether it was told that its time is nearly over.
        network: Name of its network.
        cpu_limit: Cores that it may use, if it has been given more to start with and still has it.
    """

    bot: BotKey
    status: BotStatus
    id: str
    name: str
    mode: str
    source: str
    image: str
    request_digest: str
    spec_digest: str
    started_at: datetime
    expires_at: datetime
    finished_at: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    restart_count: int = 0
    reason: str = ""
    end_reason: EndReason | None = None
    warned: bool = False
    network: str = ""
    cpu_limit: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
