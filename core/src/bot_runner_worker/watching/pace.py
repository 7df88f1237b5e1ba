"""How often to look at something whose price the bots themselves set: a walk over their files, for one."""

from time import monotonic


class Pace:
    """Says when to look again.

    Args:
        interval: Shortest time between the ends of two looks, in seconds.
        share: Part of all time that looking may take: after a long look comes a long pause.
    """

    def __init__(self, interval: float, share: float) -> None:
        self._interval = interval
        self._share = share
        self._ended = float("-inf")
        self._took = 0.0

    def is_due(self, share: float | None = None) -> bool:
        """Whether it is time to look.

        Args:
            share: For a look out of turn: no interval, and another part of the time.
        """
        pause = self._took / (share or self._share)
        return monotonic() - self._ended >= (pause if share else max(self._interval, pause))

    def looked(self, seconds: float) -> None:
        """Note that a look has ended.

        Args:
            seconds: How long it took.
        """
        self._ended = monotonic()
        self._took = seconds
