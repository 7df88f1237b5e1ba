"""The whole product on an Engine with ``userns-remap``, as the operating guide recommends it."""

import base64
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.conftest import BASE_IMAGE
from tests.core.examples import context_of, inspect, logs_with
from tests.faults.second_engine import FIRST_ID, SecondEngine

from bot_runner_worker.testing.real_runner import RunnerUnderTest, runner_under_test

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("dockerd") is None,
        reason="starts a second Engine: needs root and dockerd",
    ),
]

SEES = """
import os, time
print("root" if os.getuid() == 0 else os.getuid(), open("/proc/self/uid_map").read().split()[1], flush=True)
open("/data/x", "w").close()
print("wrote", flush=True)
time.sleep(999)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[SecondEngine]:
    """An Engine whose containers' root is nobody on the host."""
    engine = SecondEngine(remapped=True)
    try:
        engine.set_up()
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="module")
async def runner(engine: SecondEngine) -> AsyncIterator[RunnerUnderTest]:
    """A runner on that Engine."""
    async with runner_under_test(docker_host=engine.address, isolation_probe="off") as runner:
        yield runner


async def test_root_in_a_bot_is_nobody_on_the_host(engine: SecondEngine, runner: RunnerUnderTest) -> None:
    command = json.dumps(["python", "-uc", SEES])
    dockerfile = f"FROM {BASE_IMAGE}\nVOLUME /data\nCOPY Dockerfile /d\nRUN id -u\nCMD {command}\n"
    archive = base64.b64encode(context_of(dockerfile)).decode()
    started = await runner.start(deployment_mode="custom", archive=archive)
    assert started.error is None, started.data
    logs = (await logs_with(runner, "wrote"))["logs"]
    assert logs.startswith(f"root {FIRST_ID}\n")
    process = (await inspect(runner))["State"]["Pid"]
    assert os.stat(f"/proc/{process}").st_uid == FIRST_ID


async def test_files_of_a_plugin_and_limits_hold_as_elsewhere(runner: RunnerUnderTest) -> None:
    code = "import os, time\nprint(os.getuid(), os.stat('bot.py').st_uid, flush=True)\ntime.sleep(99)"
    started = await runner.start("bob", deployment_mode="simple", files={"bot.py": code})
    assert started.error is None, started.data
    assert (await logs_with(runner, "\n", user_id="bob"))["logs"] == "10001 10001\n"
    host = (await inspect(runner, user_id="bob"))["HostConfig"]
    assert (host["CapDrop"], host["UsernsMode"]) == (["ALL"], "")
