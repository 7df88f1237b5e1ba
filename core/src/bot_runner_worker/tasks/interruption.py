"""Ending a block of another task with an error of one's own, as :func:`asyncio.timeout` does."""

import asyncio
from types import TracebackType
from typing import Self

from bot_runner_worker.errors import BotRunnerError


class Interruption:
    """A context manager whose block another task can end.

    The task is cancelled, so that the block tidies up as for any cancellation, and the error takes the place
    of the :class:`asyncio.CancelledError`. A cancellation by anybody else goes through as it is.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._error: BotRunnerError | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._before = self._task.cancelling()
        return self

    def interrupt(self, error: BotRunnerError) -> None:
        """End the block with this error; only the first call counts, and none after the block's end."""
        if self._task is not None and self._error is None:
            self._error = error
            self._task.cancel()

    @property
    def is_interrupted(self) -> bool:
        """Whether somebody has ended the block."""
        return self._error is not None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._error is None or task is None:
            return
        only_ours = task.uncancel() <= self._before
        if only_ours and isinstance(error, asyncio.CancelledError):
            raise self._error from error
