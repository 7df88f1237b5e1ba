"""Deadlines by either of the two clocks that Avtomatika uses."""

from time import monotonic, time

# Avtomatika mixes two clocks in one list. A machine that has been up for 30 years would be the first to have
# a monotonic clock past this point, where the wall clock has been since 2001.
_WALL_CLOCK_STARTS = 1e9


def by_monotonic_clock(moment: float) -> float:
    """``moment`` in seconds of the monotonic clock, whichever of the two it was taken from."""
    return moment - time() + monotonic() if moment > _WALL_CLOCK_STARTS else moment


def by_wall_clock(moment: float) -> float:
    """``moment`` in seconds since 1970, whichever of the two clocks it was taken from."""
    return moment if moment > _WALL_CLOCK_STARTS else moment - monotonic() + time()
