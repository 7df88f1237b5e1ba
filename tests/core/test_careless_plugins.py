"""A careless plugin harms nobody: its own request ends with a clear error, and everything else goes on."""

import asyncio
import io
import json
import logging
import signal
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.core.plugin_factory import COMPLETE, PluginFolder, greeter

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.events import BotEvent, EventType
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.requests import StrictModel
from bot_runner_worker.plugins import blocking, guard
from bot_runner_worker.plugins import events as mailboxes
from bot_runner_worker.plugins.catalogue import DeploymentRequest
from bot_runner_worker.plugins.manager import Plugins
from bot_runner_worker.plugins.output import PluginLogLimit, standard_output_limited
from bot_runner_worker.plugins.rules import HookRules
from bot_runner_worker.testing.memory_runner import memory_runner
from bot_runner_worker.testing.waiting import until

REQUEST: DeploymentRequest[Any] = DeploymentRequest(BotKey("user", "bot"), "m", "s", StrictModel())
TOOLS: Any = None
IMAGE = Image("sha256:b", "b")
RULES = HookRules(source_timeout=0.0)
# What is cut off is cut off after the time of one rule; the other is far away, however busy the machine is.
IMPATIENT = HookRules(timeout=0.1, source_timeout=0.0)
UNBLOCKED = HookRules(block=0.1)

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
    assert [each["trouble"] for each in plugins.troubles.report()] == ["too slow"]


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
    bad: Any = slow._manager.get_plugin("bad")
    bad.done.append(True)
    for plugins in (slow, stopped):
        assert [name for name, _ in plugins.deploying.longer_than(0)] == ["prepare_build_context of bad"]
        for task in tuple(plugins._guard._abandoned):
            task.cancel()
    await until(lambda: slow.deploying.longer_than(0) == stopped.deploying.longer_than(0) == [])


async def test_a_cancelled_start_lets_the_plugin_tidy_up_first(plugin_folder: PluginFolder) -> None:
    body = "try: await asyncio.sleep(100)\n    finally:\n        await asyncio.sleep(0.05); tidy.append(1)"
    plugin_folder.add("bad", LATER.replace("BODY", body) + "tidy = []\n")
    plugins = plugin_folder.plugins()
    start = asyncio.create_task(plugins.prepare_build_context(REQUEST, TOOLS))
    await until(lambda: plugins.deploying.longer_than(0))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    bad: Any = plugins._manager.get_plugin("bad")
    assert bad.tidy == [1]


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(3600)",
        "while True: pass",
        "sum(1 for _ in iter(int, 1))",
        "import re; re.match('(a*)*b', 'a' * 60)",
    ],
)
@pytest.mark.parametrize("shape", [PLAIN, LATER], ids=["at once", "later"])
async def test_one_that_blocks_is_cut_off_and_named(
    plugin_folder: PluginFolder, shape: str, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    plugin_folder.add("bad", shape.replace("BODY", body))
    plugins = plugin_folder.plugins(UNBLOCKED)
    error = await failure(plugins)
    assert "held up the worker" in error.message
    assert "the plugin bad held up the worker" in caplog.text
    assert plugins.troubles.report()[0]["plugin"] == "bad"
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


async def test_one_that_swallows_everything_and_blocks_again(
    plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "AGAIN", 0.1)
    body = "for _ in range(3):\n        try: time.sleep(3600)\n        except BaseException: pass"
    plugin_folder.add("bad", PLAIN.replace("BODY", body))
    assert "held up the worker" in (await failure(plugin_folder.plugins(UNBLOCKED))).message


async def test_blocking_in_a_validator_of_the_params(plugin_folder: PluginFolder) -> None:
    code = """
import time
from pydantic import field_validator
class Params(StrictModel):
    word: str
    @field_validator("word")
    @classmethod
    def _word(cls, value):
        if value == "exit": raise SystemExit
        time.sleep(3600)
@hookimpl
def deployment_sources(): return [DeploymentSource("m", "s", Params, "a test")]
"""
    plugin_folder.add("bad", code)
    for word in ("exit", "sleep"):
        with pytest.raises(Rejected) as caught:
            plugin_folder.plugins(UNBLOCKED).claim(
                {"user_id": "a", "bot_id": "b", "deployment_mode": "m", "word": word}
            )
        assert caught.value.code == "PLUGIN_FAILED"
        assert caught.value.details["plugin"] == "bad"


async def test_work_of_the_core_does_not_count(plugin_folder: PluginFolder) -> None:
    body = (
        "from bot_runner_worker.plugins.patience import core_at_work\n"
        "    with core_at_work(): await asyncio.sleep(0.3)\n    return None"
    )
    plugin_folder.add("bad", LATER.replace("BODY", body))
    assert await plugin_folder.plugins(IMPATIENT).prepare_build_context(REQUEST, TOOLS) is None


@pytest.mark.parametrize("shape", [PLAIN, LATER], ids=["at once", "later"])
@pytest.mark.parametrize("body", ["while True: print('x' * 1000)", "while True: log.warning('x' * 1000)"])
async def test_one_that_prints_without_end(
    plugin_folder: PluginFolder, shape: str, body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin_folder.add("bad", shape.replace("BODY", body) + "log = logging.getLogger('careless')\n")
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(PluginLogLimit())
    log = logging.getLogger("careless")
    log.addHandler(handler)
    log.propagate = False
    try:
        with standard_output_limited(), pytest.raises(Rejected) as caught:
            await plugin_folder.plugins(HookRules(block=30)).prepare_build_context(REQUEST, TOOLS)
    finally:
        log.removeHandler(handler)
        log.propagate = True
    assert "more than 1 MiB" in caught.value.message
    assert len(capsys.readouterr().out) < 2 * 1024 * 1024
    assert len(handler.stream.getvalue()) < 2 * 1024 * 1024


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
    strict = Plugins(plugin_folder.load(), HookRules(strict=True))
    with pytest.raises(Rejected):
        await strict.container_options(REQUEST, IMAGE, TOOLS)


async def test_another_plugin_that_hangs_delays_one_start_and_not_each(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("good", SERVES)
    hook = "@hookimpl\ndef container_options():\n    asked.append(1)\n    return asyncio.Event().wait()\n"
    plugin_folder.add("bad", "import asyncio\nasked = []\n" + hook)
    plugins = plugin_folder.plugins(IMPATIENT)
    for _ in range(2):
        await plugins.container_options(REQUEST, IMAGE, TOOLS)
    bad: Any = plugins._manager.get_plugin("bad")
    assert bad.asked == [1]


async def test_a_listener_that_hangs_holds_up_nobody(
    plugin_folder: PluginFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_folder.add(
        "bad", "import asyncio\n@hookimpl\ndef bot_event(event):\n    return asyncio.Event().wait()\n"
    )
    plugin_folder.add("good", "heard = []\n@hookimpl\ndef bot_event(event):\n    heard.append(event.type)\n")
    plugins = plugin_folder.plugins(HookRules(timeout=3600))
    for _ in range(100):
        await plugins.bot_event(EVENT)
        await asyncio.sleep(0)
    good: Any = plugins._manager.get_plugin("good")
    assert len(good.heard) == 100
    assert [name for name, _ in plugins.hearing.longer_than(0)] == ["bot_event of bad"]
    monkeypatch.setattr(mailboxes, "PATIENCE_AT_THE_END", 0.1)
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
    await plugin_folder.plugins(HookRules(trace=True)).prepare_build_context(REQUEST, TOOLS)
    assert "hook prepare_build_context of bad: NoneType in" in caplog.text
