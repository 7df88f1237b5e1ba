"""A careless plugin harms nobody: its own request ends with a clear error, and everything else goes on."""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.core.plugin_factory import COMPLETE, PluginFolder, greeter, settings_with

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.requests import StrictModel
from bot_runner_worker.plugins import guard, manager
from bot_runner_worker.plugins.catalogue import DeploymentRequest
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.testing.memory_runner import memory_runner
from bot_runner_worker.testing.waiting import until

REQUEST: DeploymentRequest[Any] = DeploymentRequest(BotKey("user", "bot"), "m", "s", StrictModel())
TOOLS: Any = None
IMAGE = Image("sha256:b", "b")
RULES = settings_with(source_timeout_seconds=0.0)
IMPATIENT = settings_with(hook_timeout_seconds=0.1, source_timeout_seconds=0.0)

SERVES = COMPLETE.format(mode="m", source="s")
PLAIN = SERVES + "import asyncio, logging, time\n@hookimpl\ndef prepare_build_context(request):\n    BODY\n"
LATER = (
    SERVES
    + "import asyncio, logging, time\nasync def later():\n    await asyncio.sleep(0)\n    BODY\n"
    + "@hookimpl\ndef prepare_build_context(request):\n    return later()\n"
)
EVENT = BotEvent(EventType.STARTED, BotKey("u", "b"), "m", datetime.now(UTC))


async def failure(plugins: Plugins) -> Rejected:
    """The error of a request that the plugin serves; meanwhile the event loop has to go on."""
    with pytest.raises(Rejected) as caught:
        await plugins.prepare_build_context(REQUEST, TOOLS)
    error = caught.value
    assert error.code == "PLUGIN_FAILED"
    assert (error.details["plugin"], error.details["hook"]) == ("bad", "prepare_build_context")
    assert error.hint
    assert len(str(error.to_dict())) < 2000
    return error


@pytest.mark.parametrize("shape", [PLAIN, LATER], ids=["at once", "later"])
@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('secret 123')",
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise asyncio.CancelledError",
        "raise BaseException",
        "raise StopIteration",
        "raise RuntimeError('x' * 10**7)",
        "raise ExceptionGroup('several', [SystemExit(1)] if False else [ValueError()])",
        "exit()",
        "return 42",
    ],
)
async def test_whatever_it_raises_or_returns(plugin_folder: PluginFolder, shape: str, body: str) -> None:
    plugin_folder.add("bad", shape.replace("BODY", body))
    error = await failure(plugin_folder.plugins(RULES))
    assert "123" not in str(error.to_dict())
    if "RuntimeError" in body:
        assert error.details["exception"] == "RuntimeError"
    if body == "return 42":
        assert error.details["type"] == "int"
    # Neither this task nor the loop has been harmed.
    await asyncio.sleep(0.01)


async def test_one_that_awaits_for_ever(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("bad", LATER.replace("BODY", "await asyncio.Event().wait()"))
    plugins = plugin_folder.plugins(IMPATIENT)
    error = await failure(plugins)
    assert "did not answer within" in error.message
    assert plugins.deploying.longer_than(0) == []
    assert [each["trouble"] for each in plugins.errors.report()] == ["too slow"]


STUBBORN = """
async def later():
    while not done:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            pass
done = []
"""


async def test_one_that_cannot_be_cancelled_is_left_behind_and_named(
    plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "GRACE", 0.1)
    plugin_folder.add("bad", LATER.replace("BODY", "pass") + STUBBORN)
    slow, stopped = plugin_folder.plugins(IMPATIENT), plugin_folder.plugins(RULES)
    await failure(slow)
    # As does a stop of the start, which has to come through as what it is.
    start = asyncio.create_task(stopped.prepare_build_context(REQUEST, TOOLS))
    await until(lambda: stopped.deploying.longer_than(0))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    bad: Any = sys.modules["plugin_bad"]
    bad.done.append(True)
    for plugins in (slow, stopped):
        assert [name for name, _ in plugins.deploying.longer_than(0)] == ["prepare_build_context of bad"]
        for task in tuple(plugins._guard._abandoned):
            task.cancel()
    await until(lambda: slow.deploying.longer_than(0) == stopped.deploying.longer_than(0) == [])


TIDY = """
tidy = []
async def tidy_up():
    try: await asyncio.sleep(100)
    finally:
        await asyncio.sleep(0.05)
        tidy.append(1)
"""


@pytest.mark.parametrize("core_works", [False, True])
async def test_a_cancelled_start_lets_the_plugin_tidy_up_first(
    plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch, core_works: bool
) -> None:
    body = "await tidy_up()"
    if core_works:
        # What the core does for a plugin has limits of its own.
        monkeypatch.setattr(guard, "GRACE", 0.01)
        body = (
            f"from bot_runner_worker.plugins.guard import timeout_paused\n    with timeout_paused(): {body}"
        )
    plugin_folder.add("bad", LATER.replace("BODY", body) + TIDY)
    plugins = plugin_folder.plugins()
    start = asyncio.create_task(plugins.prepare_build_context(REQUEST, TOOLS))
    await until(lambda: plugins.deploying.longer_than(0))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    bad: Any = sys.modules["plugin_bad"]
    assert bad.tidy == [1]


async def test_a_validator_of_the_params_that_exits(plugin_folder: PluginFolder) -> None:
    code = """
from pydantic import field_validator
class Params(StrictModel):
    word: str
    @field_validator("word")
    @classmethod
    def _word(cls, value): raise SystemExit
@hookimpl
def deployment_sources(): return [DeploymentSource("m", "s", Params, "a test")]
"""
    plugin_folder.add("bad", code)
    with pytest.raises(Rejected) as caught:
        plugin_folder.plugins().claim({"user_id": "a", "bot_id": "b", "deployment_mode": "m", "word": "x"})
    assert caught.value.code == "PLUGIN_FAILED"
    assert caught.value.details["plugin"] == "bad"


async def test_work_of_the_core_does_not_count(plugin_folder: PluginFolder) -> None:
    body = (
        "from bot_runner_worker.plugins.guard import timeout_paused\n"
        "    with timeout_paused(): await asyncio.sleep(0.3)\n    return None"
    )
    plugin_folder.add("bad", LATER.replace("BODY", body))
    assert await plugin_folder.plugins(IMPATIENT).prepare_build_context(REQUEST, TOOLS) is None


@pytest.mark.parametrize(
    "error",
    [
        "Rejected('X', 'm' * 10**7)",
        "Rejected('X', 'm', details={'a': 'x' * 10**7})",
        "Rejected('X', 'm', details={'a': object()})",
        "Rejected('no code' * 1000, 'm')",
        "Rejected('X', 5)",
        "Rejected('X', 'm', hint='h' * 10**7, stage='s' * 10**7)",
    ],
)
async def test_its_own_errors_stay_within_bounds(plugin_folder: PluginFolder, error: str) -> None:
    plugin_folder.add("bad", PLAIN.replace("BODY", f"raise {error}"))
    with pytest.raises(Rejected) as caught:
        await plugin_folder.plugins(RULES).prepare_build_context(REQUEST, TOOLS)
    assert len(json.dumps(caught.value.to_dict())) < 10_000


async def test_options_of_another_plugin_that_breaks_off_are_left_out(plugin_folder: PluginFolder) -> None:
    plugin_folder.add(
        "good", SERVES + "@hookimpl\ndef container_options():\n    return ContainerOptions(user='1')\n"
    )
    plugin_folder.add("bad", "@hookimpl\ndef container_options():\n    raise SystemExit\n")
    plugin_folder.add("odd", "@hookimpl\ndef container_options():\n    return {'privileged': True}\n")
    plugins = plugin_folder.plugins(RULES)
    assert (await plugins.container_options(REQUEST, IMAGE, TOOLS)).user == "1"
    strict = Plugins(plugin_folder.load(), settings_with(plugins_strict=True))
    with pytest.raises(Rejected):
        await strict.container_options(REQUEST, IMAGE, TOOLS)


async def test_another_plugin_that_hangs_delays_a_start_by_one_time_limit(
    plugin_folder: PluginFolder,
) -> None:
    hangs = "import asyncio\n@hookimpl\ndef container_options():\n    return asyncio.Event().wait()\n"
    good = "@hookimpl\ndef container_options():\n    return ContainerOptions(user='1')\n"
    for name, code in {"good": SERVES + good, "bad": hangs, "worse": hangs}.items():
        plugin_folder.add(name, code)
    plugins = plugin_folder.plugins(settings_with(hook_timeout_seconds=0.5))
    assert (await plugins.container_options(REQUEST, IMAGE, TOOLS)).user == "1"
    assert {(each["plugin"], each["trouble"]) for each in plugins.errors.report()} == {
        ("bad", "too slow"),
        ("worse", "too slow"),
    }


async def test_a_listener_that_hangs_holds_up_nobody(
    plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_folder.add(
        "bad", "import asyncio\n@hookimpl\ndef bot_event(event):\n    return asyncio.Event().wait()\n"
    )
    plugin_folder.add("good", "heard = []\n@hookimpl\ndef bot_event(event):\n    heard.append(event.type)\n")
    plugins = plugin_folder.plugins(settings_with(hook_timeout_seconds=3600))
    for _ in range(100):
        await plugins.bot_event(EVENT)
        await asyncio.sleep(0)
    good: Any = sys.modules["plugin_good"]
    assert len(good.heard) == 100
    assert [name for name, _ in plugins.hearing.longer_than(0)] == ["bot_event of bad"]
    monkeypatch.setattr(manager, "CLOSE_SECONDS", 0.1)
    await plugins.close()


@pytest.mark.parametrize("notes", ["5", "('x' * 10**7,) * 50", "(1, object())"])
async def test_notes_are_bounded(plugin_folder: PluginFolder, notes: str) -> None:
    code = (
        greeter("m").replace("return tools.images.base() if", "return None if")
        + f"""
from dataclasses import replace
async def later(tools):
    base = await tools.images.base()
    with tools.new_build_context() as context:
        context.add("Dockerfile", f"FROM {{base.reference}}\\nCMD true\\n")
        return replace(context.finish(), notes={notes})
@hookimpl
def prepare_build_context(request, tools): return later(tools)
"""
    )
    plugin_folder.add("bad", code)
    async with memory_runner(plugins=plugin_folder.plugins()) as runner:
        started = await runner.start(deployment_mode="m")
        assert started.error is None, started.error
        assert len(str(started.data)) < 20_000


async def test_a_context_that_is_closed(plugin_folder: PluginFolder) -> None:
    code = (
        greeter("m")
        + """
@hookimpl
def prepare_build_context(request, tools):
    with tools.new_build_context() as context:
        context.add("Dockerfile", "FROM x")
        made = context.finish()
    made.close()
    return later(made)
async def later(made): return made
"""
    )
    plugin_folder.add("bad", code)
    async with memory_runner(plugins=plugin_folder.plugins()) as runner:
        error = (await runner.start(deployment_mode="m")).error
    assert error is not None
    assert error["code"] == "PLUGIN_FAILED"
    assert "closed" in error["message"]


async def test_each_call_is_traced_if_the_operator_wants_it(
    plugin_folder: PluginFolder, caplog: pytest.LogCaptureFixture
) -> None:
    plugin_folder.add("bad", LATER.replace("BODY", "return None"))
    caplog.set_level(logging.INFO)
    await plugin_folder.plugins(settings_with(plugins_trace=True)).prepare_build_context(REQUEST, TOOLS)
    assert "hook prepare_build_context of bad: NoneType in" in caplog.text
