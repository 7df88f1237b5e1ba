"""Cutting off a plugin that holds up the event loop: while it does, nothing else of the worker runs.

Only a signal gets through to code that sleeps or computes without awaiting. The alarm's handler runs in the
main thread, between two steps of the very code that it is to interrupt, so that it can look whether a plugin
is at work at this moment, and nothing but the plugin's code is ever cut off.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

AGAIN = 1.0
"""Seconds until a plugin that swallowed the interruption gets the next one."""


class BlockedError(BaseException):
    """Raised inside a plugin that takes too long; no ``Exception``, so that few handlers swallow it."""


class BlockGuard:
    """Times the steps of plugins.

    Outside the main thread, or where the alarm is somebody else's already, it can only tell afterwards.

    Args:
        seconds: What one step may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @contextmanager
    def step(self) -> Iterator[None]:
        """Run a plugin's code, up to where it awaits something.

        Raises:
            BlockedError: If it took too long.
        """
        begun = monotonic()
        if _Alarm.free():
            with _Alarm.after(self.seconds):
                yield
        else:
            yield
        if monotonic() - begun > self.seconds:
            raise BlockedError


class _Alarm:
    """The process' one alarm."""

    _armed = False

    @classmethod
    def free(cls) -> bool:
        """Whether it can be set from here; a step inside a step counts as the outer one's."""
        if cls._armed or threading.current_thread() is not threading.main_thread():
            return False
        return signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, _ring)

    @classmethod
    @contextmanager
    def after(cls, seconds: float) -> Iterator[None]:
        if signal.getsignal(signal.SIGALRM) is not _ring:
            signal.signal(signal.SIGALRM, _ring)
        try:
            cls._armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            yield
        finally:
            # Twice: the alarm may ring, and raise, while it is being switched off.
            try:
                cls._off()
            finally:
                cls._off()

    @classmethod
    def _off(cls) -> None:
        cls._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    @classmethod
    def ring(cls) -> None:
        if cls._armed:
            raise BlockedError


def _ring(_number: int, _frame: FrameType | None) -> None:
    _Alarm.ring()
