"""Calling into a plugin: bounded in time and output, and whatever it raises ends its own request only."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from bot_runner_worker.images.context import BuildContext
from bot_runner_worker.model.errors import BotRunnerError, Rejected, Unavailable
from bot_runner_worker.plugins import failures
from bot_runner_worker.plugins.blocking import BlockedError, BlockGuard
from bot_runner_worker.plugins.hanging import Calls
from bot_runner_worker.plugins.output import limited_output
from bot_runner_worker.plugins.patience import Patience
from bot_runner_worker.plugins.rules import HookRules
from bot_runner_worker.plugins.troubles import PluginErrors

logger = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds that a plugin gets to tidy up when it is cancelled; then it is left to itself, and named as
hanging."""


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any = None
    error: BaseException | None = None


class PluginGuard:
    """Calls hooks of plugins.

    Args:
        rules: The operator's.
        troubles: Told of what goes wrong.
    """

    def __init__(self, rules: HookRules, troubles: PluginErrors) -> None:
        self._rules = rules
        self._troubles = troubles
        self._blocks = BlockGuard(rules.block)
        # Calls that nobody waits for any more, until they end: the loop itself keeps no task alive.
        self._abandoned: set[asyncio.Task[_Answer]] = set()

    def call(self, plugin: str, hook: str, function: Callable[[], Any]) -> Any:
        """Call a plugin's code that awaits nothing.

        Args:
            plugin: The plugin's name.
            hook: What it is asked.
            function: Its code.

        Raises:
            Rejected: ``PLUGIN_FAILED``, or the plugin's own error.
            Unavailable: The plugin's own.
        """
        begun = monotonic()
        try:
            with limited_output(), self._blocks.step():
                result = function()
        # Anything at all: also KeyboardInterrupt, GeneratorExit and CancelledError, since the signal handlers
        # of the worker raise none of them, and nothing was awaited.
        except BaseException as error:  # noqa: BLE001
            self._trace(plugin, hook, type(error).__name__, begun)
            raise self._error(plugin, hook, error)  # noqa: B904 - it says itself what it comes from
        self._trace(plugin, hook, type(result).__name__, begun)
        return result

    async def ask(
        self, plugin: str, hook: str, function: Callable[[], Any], *, seconds: float, calls: Calls
    ) -> Any:
        """Call a plugin's hook and await what it returns, if that can be awaited.

        Args:
            plugin: The plugin's name.
            hook: The hook's name.
            function: Calls it.
            seconds: What its answer may take, besides what the core does for it.
            calls: Where it is counted in until it really ends.

        Raises:
            Rejected: ``PLUGIN_FAILED``, or the plugin's own error.
            Unavailable: The plugin's own.
        """
        result = self.call(plugin, hook, function)
        if not inspect.isawaitable(result):
            return result
        begun = monotonic()
        patience = Patience(seconds)
        # A task of its own: one that swallows its cancellation can be left behind.
        task = asyncio.create_task(self._answer(plugin, hook, _awaiting(result), patience, calls))
        try:
            in_time = await patience.wait_for(task)
        except asyncio.CancelledError:
            await self._end(task, patience)
            raise
        if not in_time:
            await self._end(task, patience)
            self._trace(plugin, hook, "too slow", begun)
            self._troubles.note(plugin, hook, "too slow")
            logger.error("the plugin %s did not answer %s within %g s", plugin, hook, seconds)
            raise failures.too_slow(plugin, hook, seconds)
        answer = task.result()
        if answer.error is not None:
            self._trace(plugin, hook, type(answer.error).__name__, begun)
            raise self._error(plugin, hook, answer.error)
        self._trace(plugin, hook, type(answer.value).__name__, begun)
        return answer.value

    async def _answer(
        self,
        plugin: str,
        hook: str,
        coroutine: Coroutine[Any, Any, Any],
        patience: Patience,
        calls: Calls,
    ) -> _Answer:
        patience.adopt()
        with calls.under_way(f"{hook} of {plugin}"), limited_output():
            try:
                return _Answer(await _Stepping(coroutine, self._blocks))
            # Out of a task, SystemExit and KeyboardInterrupt would end the whole loop.
            except BaseException as error:  # noqa: BLE001
                return _Answer(error=error)

    async def _end(self, task: "asyncio.Task[_Answer]", patience: Patience) -> None:
        """Cancel a call, give it time to tidy up, and see to what it may still return."""
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        task.cancel()
        patience.renew(GRACE)
        await patience.wait_for(task)

    def _forget(self, task: "asyncio.Task[_Answer]") -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and isinstance(context := task.result().value, BuildContext):
            context.close()

    def _error(self, plugin: str, hook: str, error: BaseException) -> BotRunnerError:
        if isinstance(error, (Rejected, Unavailable)):
            return failures.tamed(error)
        if isinstance(error, BlockedError):
            self._troubles.note(plugin, hook, "held up the worker")
            logger.error(
                "the plugin %s held up the worker for %g s and was cut off in %s",
                plugin, self._rules.block, hook, exc_info=error,
            )  # fmt: skip
            return _from(error, failures.blocked(plugin, hook, self._rules.block))
        self._troubles.note(plugin, hook, type(error).__name__[:100])
        logger.error("the plugin %s failed in %s", plugin, hook, exc_info=error)
        return _from(error, failures.broke_off(plugin, hook, error))

    def _trace(self, plugin: str, hook: str, result: str, begun: float) -> None:
        if self._rules.trace:
            took = 1000 * (monotonic() - begun)
            logger.info("hook %s of %s: %s in %.1f ms", hook, plugin, result[:100], took)


def _from(cause: BaseException, error: BotRunnerError) -> BotRunnerError:
    error.__cause__ = cause
    return error


async def _awaiting(awaitable: Any) -> Any:
    return await awaitable


class _Stepping:
    """Awaits a coroutine with each of its steps timed."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], blocks: BlockGuard) -> None:
        self._coroutine = coroutine
        self._blocks = blocks

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                with self._blocks.step():
                    waits_for = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as end:
                return end.value
            value = error = None
            try:
                value = yield waits_for
            except BaseException as thrown:  # noqa: BLE001
                error = thrown
