"""Only bots that the operator names get devices, and only what is also opened to the plugin.

A real GPU is not needed: another device stands in for the node of one, and an Engine without GPUs says that
it was asked for them.
"""

import os
import stat
from importlib.metadata import entry_points

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.plugins.starting import said

from bot_runner_worker.hookspecs import PROJECT
from bot_runner_worker.plugins.loading import load
from bot_runner_worker.testing.memory_runner import memory_runner

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
    return (await said(runner, bot_id, user_id=user_id)).strip()


@pytest.mark.slow
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


async def test_the_core_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_LIMITS_BOTS", "alice")
    monkeypatch.setenv("GPU_LIMITS_COUNT", "2")
    async with memory_runner(plugin_grants=GRANTS) as runner:
        refused = await runner.start("alice", deployment_mode="simple", code=BOT)
        assert refused.error is not None
        assert refused.error["code"] == "OPTION_REFUSED"
        assert "PLUGIN_GRANTS=gpu-limits:gpus=2" in refused.error["hint"]
        assert await runner.leftovers() == []
        assert (await runner.start("bob", deployment_mode="simple", code=BOT)).error is None


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
    loaded = load(found=entry_points(group=PROJECT, name="gpu-limits"))
    [report] = loaded.reports
    assert (report.status, report.sources) == ("refused", ())
    assert "GPU_LIMITS_COUNT" in report.problem
    assert "GPU_LIMITS_" not in report.hint


def test_it_offers_no_mode_and_asks_for_nothing_unless_told_to() -> None:
    [report] = load(found=entry_points(group=PROJECT, name="gpu-limits")).reports
    assert (report.status, report.sources) == ("loaded", ())
    assert report.hooks == ("container_options", "deployment_sources")
