"""How long a plugin's answer may take, not counting what the core does for the plugin meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_current: ContextVar["Patience | None"] = ContextVar("patience", default=None)


class Patience:
    """A clock that stands still while the core works.

    Args:
        seconds: What is left of it.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._begun: float | None = None
        self._at_work = 0
        self._handle: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] | None = None

    async def wait_for(self, task: "asyncio.Task[Any]") -> bool:
        """Wait until a task is done, or the time is over.

        Returns:
            Whether the task is done.
        """
        self._over = asyncio.get_running_loop().create_future()
        self._go_on()
        try:
            await asyncio.wait([task, self._over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stand_still()
            self._over = None
        return task.done()

    def renew(self, seconds: float) -> None:
        """Set what is left."""
        self._left = seconds

    def adopt(self) -> None:
        """Make this the clock of the current task and its children."""
        _current.set(self)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The core is at work."""
        self._stand_still()
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            self._go_on()

    def _go_on(self) -> None:
        if self._over is None or self._at_work or self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        self._begun = loop.time()
        self._handle = loop.call_later(max(self._left, 0), self._end)

    def _stand_still(self) -> None:
        if self._handle is None or self._begun is None:
            return
        self._handle.cancel()
        self._handle = None
        self._left -= asyncio.get_running_loop().time() - self._begun

    def _end(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


@contextmanager
def core_at_work() -> Iterator[None]:
    """Stop the clock of the plugin that has called the core, if there is one, while the block runs.

    For work that has a time limit of its own, such as a build.
    """
    patience = _current.get()
    if patience is None:
        yield
    else:
        with patience.standing_still():
            yield
