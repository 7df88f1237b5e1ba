"""While one plugin misbehaves, the requests of another are served, and the health endpoint says who it is."""

import asyncio
from typing import Any

import pytest
from tests.core.diagnostics.test_server import Served, gateway, served
from tests.core.plugin_factory import PluginFolder, greeter, settings_with

from bot_runner_worker.plugins import manager
from bot_runner_worker.testing.memory_runner import memory_runner

__all__ = ["gateway", "served"]

# Long enough for the plugin that behaves, however busy the machine is.
HANGS = settings_with(hook_timeout_seconds=0.5, source_timeout_seconds=0.0)

HARM = {
    "exits": "raise SystemExit",
    "interrupts": "raise KeyboardInterrupt",
    "cancels": "raise asyncio.CancelledError",
    "hangs": "return asyncio.Event().wait()",
    "reports": "return flood(tools)",
    "odd": "return 'image'",
    "loud": "raise Rejected('LOUD', 'x' * 10**7, details={'a': 'y' * 10**7})",
}
FLOOD = """
import asyncio
async def flood(tools):
    while True:
        await tools.progress('x' * 100_000, float('nan'))
"""


@pytest.mark.parametrize("harm", HARM)
async def test_others_are_served_meanwhile(plugin_folder: PluginFolder, harm: str) -> None:
    plugin_folder.add("good", greeter("good"))
    hook = f"@hookimpl\ndef prepare_build_context(request, tools):\n    {HARM[harm]}\n"
    plugin_folder.add("bad", greeter("bad") + FLOOD + hook)
    said: list[tuple[float, str]] = []

    async def report(fraction: float, message: str) -> None:
        said.append((fraction, message))

    rules = HANGS if harm in ("hangs", "reports") else None
    async with memory_runner(plugins=plugin_folder.plugins(rules)) as runner:

        async def start(mode: str, bot: str) -> Any:
            return await runner.task("start_bot", report, user_id="alice", bot_id=bot, deployment_mode=mode)

        failed, *fine = await asyncio.gather(start("bad", "a"), start("good", "b"), start("good", "c"))
        assert [outcome.error for outcome in fine] == [None, None]
        assert failed.error is not None
        assert failed.error["code"] == ("LOUD" if harm == "loud" else "PLUGIN_FAILED")
        assert failed.error["stage"] == "prepare"
        assert len(str(failed.data)) < 10_000
        assert len(said) < 100
        assert all(0 <= fraction <= 1 and len(message) < 300 for fraction, message in said)
        assert (await start("good", "b")).data["status"] == "already_running"


async def test_a_bot_comes_up_although_a_listener_fails_and_another_hangs(
    plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "CLOSE_SECONDS", 0.1)
    plugin_folder.add("good", greeter("good"))
    for name, body in (("fails", "raise SystemExit"), ("hangs", "return asyncio.Event().wait()")):
        plugin_folder.add(name, f"import asyncio\n@hookimpl\ndef bot_event(event):\n    {body}\n")
    async with memory_runner(
        plugins=plugin_folder.plugins(settings_with(hook_timeout_seconds=3600))
    ) as runner:
        assert (await runner.start(deployment_mode="good")).error is None


@pytest.mark.slow
async def test_the_health_endpoint_names_who_was_too_slow(
    served: Served, plugin_folder: PluginFolder
) -> None:
    slow = greeter("bad").replace("return tools", "return __import__('asyncio').sleep(9); return tools")
    plugin_folder.add("bad", slow)
    served.runner.runner.plugins = plugin_folder.plugins(HANGS)
    async with memory_runner(plugins=served.runner.runner.plugins) as runner:
        await runner.start(deployment_mode="bad")
    _, health = await served.get("/health")
    [trouble] = health["plugins_troubles"]
    assert (trouble["plugin"], trouble["hook"], trouble["count"]) == ("bad", "resolve_image", 1)
    assert trouble["trouble"] == "too slow"
