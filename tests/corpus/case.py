"""Hostile inputs as data: what is sent, and what must come of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

BY_THE_ENGINE = frozenset(
    {
        *("BUILD_FAILED", "BUILD_LIMIT_EXCEEDED", "BUILD_TIMED_OUT", "START_FAILED", "BOT_NOT_FOUND"),
        *("IMAGE_ACCESS_DENIED", "IMAGE_NOT_FOUND", "IMAGE_PULL_FAILED", "IMAGE_PULL_TIMED_OUT"),
        *("IMAGE_REFUSED", "IMAGE_TOO_LARGE"),
        *("REGISTRY_AUTH_FAILED", "REGISTRY_RATE_LIMITED", "REGISTRY_UNAVAILABLE"),
    }
)
"""Codes that come of what the Engine, its builder or a registry says."""


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile input.

    Args:
        name: What it tries, in a few words with dashes; unique in the corpus.
        params: The params of ``start_bot`` besides ``user_id`` and ``bot_id``, or a function that makes them
            from the servers that the corpus runs (see ``tests/corpus/servers.py``), so that large or
            dangerous input is made only when it is tried.
        code: The error code that is expected; several where either is right.
        task: The task that it is sent to.
        settings: Settings of the runner that it is tried on.
        secrets: Texts that must be found in no answer and no log.
        no_requests: Whether the marker server must have seen no request at all.
        max_memory: Bytes by which the worker's memory may grow while it is tried.
        kept: Whether its image is built before it is refused, and stays in the cache for a while.
        engine: Whether it must be tried on a real Engine although its code does not say so.
    """

    name: str
    params: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]
    code: str | tuple[str, ...]
    task: str = "start_bot"
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    no_requests: bool = True
    max_memory: int = 96 * 1024 * 1024
    kept: bool = False
    engine: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that are right."""
        return (self.code,) if isinstance(self.code, str) else self.code

    @property
    def needs_engine(self) -> bool:
        """Whether it gets as far as the Engine; all others are refused before, and are tried in memory."""
        return self.engine or not BY_THE_ENGINE.isdisjoint(self.codes)
