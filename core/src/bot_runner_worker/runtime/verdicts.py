"""Why a bot does not run any more, kept on the Engine with the container itself."""

from enum import IntEnum


class Verdict(IntEnum):
    """Why a bot was ended for good.

    The Engine lets two things of a container be changed later and keeps them through all restarts: its
    restart policy and its limits. The policy says whether the bot should run; its weight among CPU shares,
    which means nothing for a container that does not run, says why not. The values are those weights;
    Docker's default weight is 1024.
    """

    STOPPED = 1024
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
