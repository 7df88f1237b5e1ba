"""All checks in the order in which they are told, run side by side, each with a time limit of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot_runner_worker.diagnostics import results as findings
from bot_runner_worker.diagnostics.checks import (
    base_image,
    clock,
    configuration,
    disk,
    engine,
    health_address,
    isolation,
    network_pool,
    orchestrator,
    package_index,
)
from bot_runner_worker.diagnostics.checks import context as surroundings
from bot_runner_worker.diagnostics.checks.context import CheckContext
from bot_runner_worker.diagnostics.results import Check, State
from bot_runner_worker.engine import Engine, EngineError
from bot_runner_worker.model.errors import BotRunnerError
from bot_runner_worker.settings import Settings

Progress = Callable[[list[str]], None]
"""Told which checks are still under way, whenever that changes."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    check: Callable[[CheckContext], Awaitable[Check]]
    needs_engine: bool = True
    seconds: float = 15.0


_SUITE = (
    _Entry(findings.ENGINE, engine.version, needs_engine=False),
    _Entry(engine.LIMITS, engine.limits),
    _Entry(engine.STORAGE, engine.storage),
    _Entry(engine.SECURITY, engine.security),
    _Entry(engine.RUNTIME, engine.runtime),
    _Entry(findings.DISK, disk.room),
    _Entry(disk.LIMIT, disk.limit),
    _Entry(network_pool.NAME, network_pool.network_pool),
    _Entry(findings.ISOLATION, isolation.isolation, seconds=90.0),
    _Entry(base_image.NAME, base_image.base_image, seconds=30.0),
    _Entry(package_index.NAME, package_index.package_index, seconds=package_index.BUILD_SECONDS + 30.0),
    _Entry(configuration.REGISTRIES, configuration.registries, needs_engine=False),
    _Entry(configuration.PLUGINS, configuration.plugins, needs_engine=False),
    _Entry(findings.ORCHESTRATOR, orchestrator.reachable, needs_engine=False),
    _Entry(orchestrator.TOKEN, orchestrator.token, needs_engine=False),
    _Entry(clock.NAME, clock.clock, needs_engine=False),
    _Entry(health_address.NAME, health_address.health_address, needs_engine=False),
)

NAMES = tuple(entry.name for entry in _SUITE)
"""The checks' names, in order. They are stable: programs may look for them in ``doctor --json``."""


async def run_checks(settings: Settings, progress: Progress = lambda _: None) -> list[Check]:
    """Run all checks; one that fails or hangs does not stop the others.

    Args:
        settings: The settings.
        progress: Told which checks are still under way.

    Returns:
        A result for each of :data:`NAMES`, in that order.
    """
    running = dict.fromkeys(NAMES)
    progress(list(running))
    async with Engine(settings.docker_host) as connection:
        here = await surroundings.survey(connection, settings)

        async def run(entry: _Entry) -> Check:
            result = await _run(entry, here)
            del running[entry.name]
            progress(list(running))
            return result

        return await asyncio.gather(*(run(entry) for entry in _SUITE))


async def _run(entry: _Entry, here: CheckContext) -> Check:
    if entry.needs_engine and isinstance(here.facts, str):
        return Check(entry.name, State.WARNING, "not looked at: the Engine does not answer")
    try:
        async with asyncio.timeout(entry.seconds):
            return await entry.check(here)
    except TimeoutError:
        return Check(
            entry.name,
            State.FAILED,
            f"not done within {entry.seconds:.0f} s",
            "Try again; if it stays so, see the Engine's log and the load of its machine.",
        )
    except BotRunnerError as error:
        reason = error.details.get("reason", "")
        return Check(entry.name, State.FAILED, f"{error} {reason}".rstrip(), error.hint)
    except EngineError as error:
        return Check(entry.name, State.FAILED, f"the Engine refused: {error}", "See the Engine's log.")
