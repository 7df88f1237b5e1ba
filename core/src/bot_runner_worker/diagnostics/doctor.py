"""All checks in the order in which they are shown, run side by side, each with a time limit of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot_runner_worker.diagnostics.checks import configuration, engine, images, network
from bot_runner_worker.diagnostics.checks.context import CheckContext, check_context
from bot_runner_worker.diagnostics.results import (
    DISK,
    ENGINE,
    ISOLATION,
    ORCHESTRATOR,
    CheckResult,
    failed,
    warning,
)
from bot_runner_worker.engine import Engine, EngineError
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.settings import Settings

RunningListener = Callable[[list[str]], None]
"""Called with the names of the checks that are still running, whenever they change."""


@dataclass(frozen=True, slots=True)
class _Entry:
    check: Callable[[CheckContext], Awaitable[CheckResult]]
    needs_engine: bool = True
    seconds: float = 15.0


_SUITE = {
    ENGINE: _Entry(engine.version, needs_engine=False),
    "limits": _Entry(engine.limits),
    "storage": _Entry(engine.storage),
    "Engine's security": _Entry(engine.security),
    "container runtime": _Entry(engine.runtime),
    DISK: _Entry(engine.disk),
    "disk limit": _Entry(engine.disk_limit),
    "network pool": _Entry(network.pool),
    ISOLATION: _Entry(network.isolation, seconds=90.0),
    "base image": _Entry(images.base_image, seconds=30.0),
    "package index": _Entry(images.package_index, seconds=images.INDEX_SECONDS + 30.0),
    "registries": _Entry(configuration.registries, needs_engine=False),
    "credentials": _Entry(configuration.credentials, needs_engine=False),
    "plugins": _Entry(configuration.plugins, needs_engine=False),
    ORCHESTRATOR: _Entry(configuration.orchestrator, needs_engine=False),
    "worker token": _Entry(configuration.token, needs_engine=False),
    "clock": _Entry(engine.clock, needs_engine=False),
    "health address": _Entry(network.health_address, needs_engine=False),
}

NAMES = tuple(_SUITE)
"""The checks' names, in order. They are stable: programs may look for them in ``doctor --json``."""


async def run_checks(
    settings: Settings, on_change: RunningListener = lambda _: None
) -> dict[str, CheckResult]:
    """Run all checks; one that fails or hangs does not stop the others.

    Args:
        settings: The settings.
        on_change: Told which checks are still running.

    Returns:
        A result for each of :data:`NAMES`, in that order.
    """
    running = dict.fromkeys(_SUITE)
    on_change(list(running))
    async with Engine(settings.docker_host) as connection:
        context = await check_context(connection, settings)

        async def run(name: str, entry: _Entry) -> CheckResult:
            result = await _run(entry, context)
            del running[name]
            on_change(list(running))
            return result

        results = await asyncio.gather(*(run(name, entry) for name, entry in _SUITE.items()))
    return dict(zip(_SUITE, results, strict=True))


async def _run(entry: _Entry, context: CheckContext) -> CheckResult:
    if entry.needs_engine and context.engine_facts is None:
        return warning("not looked at: the Engine does not answer")
    try:
        async with asyncio.timeout(entry.seconds):
            return await entry.check(context)
    except TimeoutError:
        return failed(
            f"not done within {entry.seconds:.0f} s",
            "Try again; if it stays so, see the Engine's log and the load of its machine.",
        )
    except BotRunnerError as error:
        reason = error.details.get("reason", "")
        return failed(f"{error} {reason}".rstrip(), error.hint)
    except EngineError as error:
        return failed(f"the Engine refused: {error}", "See the Engine's log.")
