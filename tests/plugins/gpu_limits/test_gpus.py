"""Only bots that the operator names get devices, and only what is also opened to the plugin.

A real GPU is not needed: another device stands in for the node of one, and an Engine without GPUs says that
it was asked for them.
"""

import asyncio
import os
import stat
from importlib.metadata import entry_points

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest

from bot_runner_worker.hookspecs import PROJECT
from bot_runner_worker.plugins import core
from bot_runner_worker.plugins.loading import load

DEVICE = "/dev/hwrng"
BOT = f"""
import os, time
print(os.path.exists({DEVICE!r}) and os.stat({DEVICE!r}).st_rdev, flush=True)
time.sleep(3600)
"""
GRANTS = f"gpu-limits:device={DEVICE},gpu-limits:gpus=1"


async def seen(runner: RunnerUnderTest, user_id: str, bot_id: str) -> str:
    """What a bot says of the device."""
    outcome = await runner.start(user_id, bot_id, deployment_mode="simple", code=BOT)
    assert outcome.error is None, outcome.error
    for _ in range(100):
        answer = await runner.task("get_logs", user_id=user_id, bot_id=bot_id)
        if answer.data["logs"]:
            break
        await asyncio.sleep(0.1)
    return str(answer.data["logs"]).strip()


@pytest.mark.engine
@pytest.mark.skipif(not os.path.exists(DEVICE), reason=f"this machine has no {DEVICE} to stand in for a GPU")
async def test_the_named_bots_get_the_device_and_no_others(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stat.S_ISCHR(os.stat(DEVICE).st_mode)
    monkeypatch.setenv("GPU_LIMITS_BOTS", "alice, bob/vision")
    monkeypatch.setenv("GPU_LIMITS_DEVICES", DEVICE)
    runner = await make_runner(plugin_grants=GRANTS)
    there = str(os.stat(DEVICE).st_rdev)
    assert await seen(runner, "alice", "any") == there
    assert await seen(runner, "bob", "vision") == there
    assert await seen(runner, "bob", "other") == "False"
    assert await seen(runner, "carol", "vision") == "False"


@pytest.mark.engine
async def test_the_core_has_the_last_word(make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_LIMITS_BOTS", "alice")
    monkeypatch.setenv("GPU_LIMITS_COUNT", "2")
    runner = await make_runner(plugin_grants=GRANTS)
    refused = await runner.start("alice")
    assert refused.error is not None
    assert refused.error["code"] == "OPTION_REFUSED"
    assert "PLUGIN_GRANTS=gpu-limits:gpus=2" in refused.error["hint"]
    assert await runner.leftovers() == []
    assert (await runner.start("bob")).error is None


@pytest.mark.engine
async def test_gpus_are_asked_of_the_engine(make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_LIMITS_BOTS", "*")
    monkeypatch.setenv("GPU_LIMITS_COUNT", "1")
    runner = await make_runner(plugin_grants=GRANTS)
    runtimes = (await runner.engine.json("GET", "info"))["Runtimes"]
    outcome = await runner.start()
    if "nvidia" in runtimes:
        assert outcome.error is None
        return
    assert outcome.error is not None
    assert outcome.error["code"] == "START_FAILED"
    assert "GPUs" in outcome.error["hint"]
    assert await runner.leftovers() == []


@pytest.mark.parametrize("value", ["-1", "65", "many", "1.5"])
def test_a_wrong_setting_is_reported_when_the_plugin_is_loaded(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_LIMITS_COUNT", value)
    loaded = load(core=core, found=entry_points(group=PROJECT, name="gpu-limits"))
    [report] = loaded.reports
    assert (report.status, report.sources) == ("refused", ())
    assert "GPU_LIMITS_COUNT" in report.problem
    assert "GPU_LIMITS_" not in report.hint


def test_it_offers_no_mode_and_asks_for_nothing_unless_told_to() -> None:
    [report] = load(core=core, found=entry_points(group=PROJECT, name="gpu-limits")).reports
    assert (report.status, report.sources) == ("loaded", ())
    assert report.hooks == ("container_options", "deployment_sources")
