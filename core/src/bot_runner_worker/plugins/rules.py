"""What the operator's settings say about plugins that are loaded."""

from dataclasses import dataclass
from typing import Self

from bot_runner_worker.model.grants import Grant
from bot_runner_worker.model.quantities import MIB
from bot_runner_worker.settings import Settings


@dataclass(frozen=True, slots=True)
class HookRules:
    """Bounds for plugins' hooks.

    Args:
        grants: What is opened to one plugin each.
        max_files_size: Largest sum of the sizes of a bot's files, in bytes.
        timeout: Seconds that a hook's answer may take.
        source_timeout: Seconds on top, twice, for hooks that fetch and read code.
        block: Seconds for which a plugin may hold up the event loop.
        trace: Whether each call is logged.
        strict: Whether a plugin that only contributes fails the request when it breaks off.
    """

    grants: tuple[Grant, ...] = ()
    max_files_size: int = 256 * MIB
    timeout: float = 30.0
    source_timeout: float = 300.0
    block: float = 10.0
    trace: bool = False
    strict: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say."""
        return cls(
            grants=settings.plugin_grants,
            max_files_size=settings.max_context_size,
            timeout=settings.hook_timeout_seconds,
            source_timeout=settings.source_timeout_seconds,
            block=settings.hook_block_seconds,
            trace=settings.plugins_trace,
            strict=settings.plugins_strict,
        )
