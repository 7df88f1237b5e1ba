"""Runs one action as a job: submit, wait with growing delays, return its data."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot_runner_cli.errors import (
    CliError,
    TemporaryError,
    UnreachableError,
    UserInterruptError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from bot_runner_cli.api import Orchestrator

Progress = Callable[[str, float | None], None]
"""Told what is going on (for people), and the share that is done, 0 to 1, if known."""

_FIRST_DELAY = 0.05
_DELAY_GROWTH = 1.3
_LONGEST_DELAY = 0.5
# Avtomatika's default limit is 100 requests a minute to one path: slow down in time to stay below it.
_PATIENT_AFTER = 20.0
_PATIENT_DELAY = 1.0
_MAX_FAILURES_IN_A_ROW = 6
_LONGEST_BACKOFF = 15.0


class Deadline:
    """The moment when patience is over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def sleep(self, seconds: float) -> None:
        """Sleep, but not past the deadline.

        Raises:
            WaitTimeoutError: The time is over.
        """
        left = self._seconds - self.elapsed
        if left <= 0:
            raise WaitTimeoutError(
                "TIMED_OUT",
                f"There was no result within {self._seconds:g} seconds.",
                hint="Give it more time with --timeout SECONDS.",
            )
        time.sleep(min(seconds, left))


class JobRunner:
    """Runs actions of the ``bot_runner`` blueprint.

    Args:
        orchestrator: The client.
        user: The user to act for; ``None`` is the token's own.
        timeout: Seconds that a job may take unless a call says otherwise.
    """

    def __init__(self, orchestrator: "Orchestrator", user: str | None, timeout: float) -> None:
        self._orchestrator = orchestrator
        self._user = user
        self._timeout = timeout

    def run(
        self,
        action: str,
        params: dict[str, Any] | None = None,
        *,
        on_progress: Progress | None = None,
        cancel_as: str | None = None,
    ) -> dict[str, Any]:
        """Run an action and return its result's data.

        Args:
            action: ``start``, ``stop``, ``logs``, ``list``, ``status`` or ``restart``.
            params: The action's params.
            on_progress: Told of each stage.
            cancel_as: If given, Ctrl-C and a timeout cancel the job, and this names it: "the start of shop".

        Raises:
            CliError: Any of its kinds but :class:`~bot_runner_cli.errors.BotDiedError`.
        """
        on_progress = on_progress or _ignore
        initial_data = {"action": action, **(params or {})}
        if self._user is not None:
            initial_data["user_id"] = self._user
        deadline = Deadline(self._timeout)
        job_id = self._submit(initial_data, deadline, on_progress)
        if cancel_as is None:
            return self._wait(job_id, deadline, on_progress)
        try:
            return self._wait(job_id, deadline, on_progress)
        except KeyboardInterrupt:
            raise UserInterruptError(self._cancel(job_id, cancel_as)) from None
        except WaitTimeoutError as error:
            error.message = f"{error.message} {self._cancel(job_id, cancel_as)}"
            raise

    def _submit(self, initial_data: dict[str, Any], deadline: Deadline, on_progress: Progress) -> str:
        backoff = 1.0
        while True:
            try:
                return self._orchestrator.submit(initial_data)
            except TemporaryError as error:
                # Only a rate limit says for sure that no job was made; anything else is not sent twice.
                if error.code != "RATE_LIMITED":
                    raise
                backoff = _back_off(error, backoff, deadline, on_progress)

    def _wait(self, job_id: str, deadline: Deadline, on_progress: Progress) -> dict[str, Any]:
        delay, backoff, failures = _FIRST_DELAY, 1.0, 0
        while True:
            try:
                job = self._orchestrator.job(job_id)
            except (UnreachableError, TemporaryError) as error:
                failures += not (isinstance(error, TemporaryError) and error.code == "RATE_LIMITED")
                if failures >= _MAX_FAILURES_IN_A_ROW:
                    raise
                backoff = _back_off(error, backoff, deadline, on_progress)
                continue
            backoff, failures = 1.0, 0
            if job.is_over:
                return job.data()
            if job.progress_message:
                on_progress(job.progress_message, job.progress)
            deadline.sleep(delay)
            longest = _PATIENT_DELAY if deadline.elapsed > _PATIENT_AFTER else _LONGEST_DELAY
            delay = min(delay * _DELAY_GROWTH, longest)

    def _cancel(self, job_id: str, name: str) -> str:
        try:
            cancelled = self._orchestrator.cancel(job_id)
        except CliError as error:
            return f"{name[0].upper()}{name[1:]} could not be cancelled: {error.message}"
        if cancelled:
            return f"{name[0].upper()}{name[1:]} was cancelled."
        return f"It was too late to cancel {name}: it is done; see `bot-runner list`."


def _ignore(_message: str, _share: float | None) -> None:
    """Progress that nobody looks at."""


def _back_off(error: CliError, backoff: float, deadline: Deadline, on_progress: Progress) -> float:
    """Wait as long as the service asks, or else a little longer each time; returns the next time."""
    asked = error.retry_after if isinstance(error, TemporaryError) else None
    on_progress("The orchestrator is busy or away; trying again", None)
    deadline.sleep(backoff if asked is None else asked)
    return min(backoff * 2, _LONGEST_BACKOFF)
