"""The guard around hooks: time limits, and errors that end their own request only."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from time import monotonic
from typing import Any

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import BotRunnerError, Rejected, Unavailable
from bot_runner_worker.model.options import wrong_option
from bot_runner_worker.plugins.errors import PluginErrors, bounded, plugin_failed

logger = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds that a hook gets to tidy up when it is cancelled; then nobody waits for it any more."""


class Calls:
    """Calls that are under way, for the health endpoint."""

    def __init__(self) -> None:
        self._begun: dict[object, tuple[str, float]] = {}

    @contextmanager
    def under_way(self, name: str) -> Iterator[None]:
        """Count a call while the block runs."""
        key = object()
        self._begun[key] = (name, monotonic())
        try:
            yield
        finally:
            del self._begun[key]

    def longer_than(self, seconds: float) -> list[tuple[str, float]]:
        """Names and seconds of the calls that have taken longer, the longest first."""
        now = monotonic()
        ages = [(name, now - begun) for name, begun in self._begun.values()]
        return sorted((each for each in ages if each[1] > seconds), key=lambda each: -each[1])


class HookTimeout:
    """A time limit that is paused while the core builds or pulls."""

    def __init__(self) -> None:
        self._timeout: asyncio.Timeout | None = None
        self._left = 0.0
        self._pauses = 0

    async def wait(self, task: "asyncio.Task[Any]", seconds: float) -> bool:
        """Wait for a task; returns whether it is done in time."""
        self._left = seconds
        try:
            async with asyncio.timeout(None) as self._timeout:
                self._run()
                await asyncio.wait([task])
        except TimeoutError:
            pass
        finally:
            self._timeout = None
        return task.done()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the time limit while the block runs."""
        if not self._pauses and self._timeout is not None and (when := self._timeout.when()) is not None:
            self._left = when - asyncio.get_running_loop().time()
        self._pauses += 1
        self._run()
        try:
            yield
        finally:
            self._pauses -= 1
            self._run()

    def _run(self) -> None:
        if self._timeout is not None and not self._timeout.expired():
            now = asyncio.get_running_loop().time()
            self._timeout.reschedule(None if self._pauses else now + self._left)


_current_timeout: ContextVar[HookTimeout | None] = ContextVar("hook_timeout", default=None)


@contextmanager
def timeout_paused() -> Iterator[None]:
    """Pause the time limit of the hook that has called the core, if there is one.

    For work that has a time limit of its own, such as a build.
    """
    timeout = _current_timeout.get()
    if timeout is None:
        yield
    else:
        with timeout.paused():
            yield


@dataclass(frozen=True, slots=True)
class HookCall:
    """What a plugin's hook returned or raised.

    Args:
        plugin: The plugin's name.
        hook: The hook's name.
        value: The answer, or an awaitable of the answer.
        error: What was raised.
    """

    plugin: str
    hook: str
    value: Any = None
    error: BaseException | None = None

    def close(self) -> None:
        """Give up an answer that nobody will await."""
        if inspect.iscoroutine(self.value):
            self.value.close()


class PluginGuard:
    """Calls hooks.

    Args:
        errors: Told of what goes wrong.
        trace: Whether each call is logged.
    """

    def __init__(self, errors: PluginErrors, *, trace: bool = False) -> None:
        self._trace_calls = trace
        self._errors = errors
        # Tasks that nobody waits for any more, until they end: the loop itself keeps no task alive.
        self._abandoned: set[asyncio.Task[HookCall]] = set()

    def wrap(self, plugin: str, hook: str, function: Callable[..., Any]) -> Callable[..., HookCall | None]:
        """Wrap a hook: it returns a :class:`HookCall` or ``None``, and raises nothing.

        So pluggy asks all plugins in one call, and each answer or error has the name of its plugin.
        """

        @wraps(function)
        def call(*arguments: Any) -> HookCall | None:
            begun = monotonic()
            answer = HookCall(plugin, hook)
            # Nothing was awaited, so KeyboardInterrupt and CancelledError, too, are the plugin's own.
            try:
                answer = HookCall(plugin, hook, function(*arguments))
            except BaseException as error:  # noqa: BLE001
                answer = HookCall(plugin, hook, error=error)
            self._trace(answer, begun)
            return None if answer.value is None and answer.error is None else answer

        return call

    async def answer(self, call: HookCall, seconds: float, calls: Calls) -> Any:
        """The answer of a hook that was called.

        Args:
            call: What the hook returned.
            seconds: Time limit, without the time in which the core builds or pulls.
            calls: Where the call is counted until it ends.

        Raises:
            Rejected: ``PLUGIN_FAILED``, or the plugin's own error.
            Unavailable: The plugin's own error.
        """
        if inspect.isawaitable(call.value):
            limit = HookTimeout()
            # A task of its own: one that ignores its cancellation can be left behind.
            task = asyncio.create_task(self._await(call, limit, calls))
            try:
                in_time = await limit.wait(task, seconds)
            except asyncio.CancelledError:
                await self._cancel(task, limit)
                raise
            if not in_time:
                await self._cancel(task, limit)
                raise self._too_slow(call, seconds)
            call = task.result()
        if call.error is not None:
            raise self.failure(call.plugin, call.hook, call.error)
        return call.value

    def failure(self, plugin: str, hook: str, error: BaseException) -> BotRunnerError:
        """Turn what a plugin raised into the error of its request; the text is only logged.

        Args:
            plugin: The plugin's name.
            hook: The hook's name.
            error: What the plugin raised.
        """
        if isinstance(error, (Rejected, Unavailable)):
            return bounded(error)
        kind = type(error).__name__[:100]
        self._errors.note(plugin, hook, kind)
        logger.error("the plugin %s failed in %s", plugin, hook, exc_info=error)
        if (wrong := wrong_option(error)) is not None:
            option, reason = wrong
            failed = plugin_failed(plugin, hook, f"asks for a wrong {option}: {reason}", option=option)
        else:
            failed = plugin_failed(plugin, hook, f"failed ({kind} in {hook})", exception=kind)
        failed.__cause__ = error
        return failed

    async def _await(self, call: HookCall, limit: HookTimeout, calls: Calls) -> HookCall:
        _current_timeout.set(limit)
        begun = monotonic()
        with calls.under_way(f"{call.hook} of {call.plugin}"):
            # Out of a task, SystemExit and KeyboardInterrupt would end the whole loop.
            try:
                answer = HookCall(call.plugin, call.hook, await call.value)
            except BaseException as error:  # noqa: BLE001
                answer = HookCall(call.plugin, call.hook, error=error)
        self._trace(answer, begun)
        return answer

    async def _cancel(self, task: "asyncio.Task[HookCall]", limit: HookTimeout) -> None:
        """Cancel a hook, give it time to tidy up, and close what it may still return."""
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        task.cancel()
        await limit.wait(task, GRACE)

    def _forget(self, task: "asyncio.Task[HookCall]") -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and isinstance(context := task.result().value, BuildContext):
            context.close()

    def _too_slow(self, call: HookCall, seconds: float) -> Rejected:
        self._errors.note(call.plugin, call.hook, "too slow")
        what = f"did not answer within {seconds:g} seconds ({call.hook})"
        logger.error("the plugin %s %s", call.plugin, what)
        return plugin_failed(call.plugin, call.hook, what, limit_seconds=seconds)

    def _trace(self, call: HookCall, begun: float) -> None:
        if self._trace_calls:
            result = type(call.value if call.error is None else call.error).__name__[:100]
            took = 1000 * (monotonic() - begun)
            logger.info("hook %s of %s: %s in %.1f ms", call.hook, call.plugin, result, took)
