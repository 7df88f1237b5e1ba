"""How containers ended, and how often they failed of late, by the Engine's events."""

from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from time import monotonic, time

from bot_runner_worker.engine.events import ContainerEvent
from bot_runner_worker.model.spec import EndReason

_REMEMBERED = 2048
"""Events of which this process knows that it has heard them; the Engine tells up to 256 again."""


@dataclass(frozen=True, slots=True)
class Exit:
    """One end of a container's process.

    Args:
        exit_code: Its exit code.
        oom_killed: Whether it ran out of memory.
        asked_for: Whether it was sent a signal: by somebody who stops it, or by an Engine that ends.
        at: When it was, on this process's monotonic clock.
    """

    exit_code: int
    oom_killed: bool
    asked_for: bool
    at: float

    @property
    def is_failure(self) -> bool:
        """Whether the bot failed by itself."""
        return self.exit_code != 0 and not self.asked_for


class ExitHistory:
    """Keeps the last end of each container, and its failures within a window.

    What outlives the process is the end reason on the Engine, see :mod:`bot_runner_worker.bots.end_reasons`.

    Args:
        window: Length of the window, in seconds.
        grace: Seconds that a container has from a signal to its end.
    """

    def __init__(self, window: float, grace: float) -> None:
        self._window = window
        self._grace = grace
        self._failures: defaultdict[str, deque[Exit]] = defaultdict(deque)
        self._last: dict[str, Exit] = {}
        self._signalled: dict[str, float] = {}
        self._short_of_memory: set[str] = set()
        self._announced: dict[str, EndReason] = {}
        self._heard: dict[tuple[str, str, float], None] = {}

    def note(self, event: ContainerEvent) -> bool:
        """Take in an event; returns whether it is news."""
        key = (event.container, event.action, event.at)
        if key in self._heard:
            return False
        self._heard[key] = None
        if len(self._heard) > _REMEMBERED:
            del self._heard[next(iter(self._heard))]
        container = event.container
        match event.action:
            case "start":
                self._begin(container)
            case "kill":
                self._signalled[container] = event.at
            case "oom":
                self._blame_memory(container)
            case "die":
                self._end(event)
            case "update":
                # Whoever changes what a bot should do begins to count anew.
                self._failures.pop(container, None)
            case "destroy":
                self._begin(container)
                self._failures.pop(container, None)
        return True

    def _begin(self, container: str) -> None:
        self._last.pop(container, None)
        self._signalled.pop(container, None)
        self._short_of_memory.discard(container)

    def _blame_memory(self, container: str) -> None:
        self._short_of_memory.add(container)
        # On a busy machine, containerd tells of the end first, and the Engine's own flag stays unset.
        if (last := self._last.get(container)) is not None:
            self._last[container] = replace(last, oom_killed=True)
            failures = self._failures.get(container)
            if failures and failures[-1] is last:
                failures[-1] = self._last[container]

    def _end(self, event: ContainerEvent) -> None:
        container = event.container
        signalled = self._signalled.get(container)
        last = Exit(
            exit_code=event.exit_code,
            oom_killed=container in self._short_of_memory,
            # Some programs live on after a signal, and end much later for reasons of their own.
            asked_for=signalled is not None and event.at - signalled <= self._grace,
            # One from before this process may be minutes old.
            at=monotonic() - max(0.0, time() - event.at),
        )
        self._last[container] = last
        if last.is_failure:
            self._failures[container].append(last)

    def interrupt(self, container: str) -> None:
        """Take a container's end for somebody else's doing, whatever the events have told."""
        self._last[container] = Exit(0, False, True, monotonic())

    def last(self, container: str) -> Exit | None:
        """How a container ended, unless it has started again, or no event has told."""
        return self._last.get(container)

    def failures(self, container: str) -> list[Exit]:
        """How a container failed by itself within the window, the latest last."""
        if container not in self._failures:
            return []
        found = self._failures[container]
        while found and monotonic() - found[0].at > self._window:
            found.popleft()
        return list(found)

    def announce(self, container: str, reason: EndReason) -> None:
        """Note that a container's end for good was announced."""
        self._announced[container] = reason

    def is_announced(self, container: str, reason: EndReason) -> bool:
        """Whether this end for good was the last that was announced of a container."""
        return self._announced.get(container) is reason

    def keep(self, containers: Collection[str]) -> None:
        """Forget all other containers."""
        known = {*self._failures, *self._last, *self._signalled, *self._short_of_memory, *self._announced}
        for container in known.difference(containers):
            self._begin(container)
            self._failures.pop(container, None)
            self._announced.pop(container, None)
