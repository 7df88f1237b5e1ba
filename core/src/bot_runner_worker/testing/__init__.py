"""The test kit for plugin authors; the project's own tests use it, too.

``pip install bot-runner-worker[testing]`` brings pytest, which finds the kit by itself. A plugin is checked
against the contract in a few lines, without any Docker Engine::

    from bot_runner_worker.testing import PluginConformance

    class TestConformance(PluginConformance):
        plugin = "hello"
        valid = {"a greeting": {"deployment_mode": "hello", "greeting": "hi"}}
        invalid = {"no text": ({"deployment_mode": "hello", "greeting": 5}, "INVALID_FIELD")}

Where there is an Engine, the bots of ``valid`` are also started on it. See
:class:`.conformance.PluginConformance` for all that can be said about a plugin.

Fixtures, each a plain function, whichever way asynchronous tests are run:

``bot_engine``
    The address of the real Engine (``DOCKER_HOST``); the test is skipped where there is none.
``bot_runner``
    Makes runners on it: ``async with bot_runner(max_bots_per_user=1) as runner``. Each has a namespace of its
    own, and what it made is removed at the end.
``memory_bot_runner``
    The same over an Engine in memory (:class:`.memory_runner.MemoryRunner`); the same tests check both.
``bot_tenant``
    A user id that nobody else has.
``source_server``
    A local HTTP server for code and misbehaviour (:class:`.source_server.SourceServer`).

Nothing is imported until it is used: the kit costs a test run nothing, and the worker never loads it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bot_runner_worker.testing.cases import Site
    from bot_runner_worker.testing.conformance import PluginConformance
    from bot_runner_worker.testing.memory_runner import MemoryRunner
    from bot_runner_worker.testing.real_runner import RunnerUnderTest
    from bot_runner_worker.testing.source_server import SourceServer

_MODULES = {
    "MemoryRunner": "memory_runner",
    "PluginConformance": "conformance",
    "RunnerUnderTest": "real_runner",
    "Site": "cases",
    "SourceServer": "source_server",
}

__all__ = ["MemoryRunner", "PluginConformance", "RunnerUnderTest", "Site", "SourceServer"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
