"""Why a bot was ended for good, as the Engine keeps it with the bot's container."""

from dataclasses import dataclass
from enum import IntEnum

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
