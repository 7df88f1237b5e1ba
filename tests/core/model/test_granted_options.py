"""What is opened to a plugin reaches the bot's container, and nothing else changes there."""

from pathlib import Path
from uuid import uuid4

import pytest
from tests.conftest import MakeRunner
from tests.core.examples import answer, inspect, logs_with
from tests.core.plugin_factory import PluginFolder, greeter

pytestmark = pytest.mark.engine

LOOK = """
import os, time
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print("capabilities", int(status["CapEff"], 16), flush=True)
print("null", open("/dev/nothing", "rb").read(1), flush=True)
print("file", open("/models/model.txt").read(), flush=True)
try: open("/models/x", "w")
except OSError as error: print("writing", error.errno, flush=True)
while True: time.sleep(1)
"""

ASKING = f"""
@hookimpl
def container_options(request):
    return ContainerOptions(
        user="0:0",
        command=("python3", "-c", {LOOK!r}),
        devices=(Device("/dev/null", "/dev/nothing", writable=False),),
        mounts=(Mount("FOLDER", "/models"),),
        capabilities=("NET_RAW",),
    )
"""


async def test_what_is_opened_is_there_and_nothing_more(
    make_runner: MakeRunner, plugin_folder: PluginFolder
) -> None:
    # Seen by the Engine, wherever its files are: it runs on this machine.
    folder = Path("/srv") / f"bot-runner-test-{uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    try:
        (folder / "model.txt").write_text("weights")
        plugin_folder.add("greedy", greeter("greedy") + ASKING.replace("FOLDER", str(folder)))
        entries = ("device=/dev/null:r", f"mount={folder}", "capability=NET_RAW")
        grants = ",".join(f"greedy:{each}" for each in entries)

        refused = await make_runner(plugins=plugin_folder)
        error = (await refused.start(deployment_mode="greedy")).error
        assert error is not None
        assert (error["code"], error["stage"]) == ("OPTION_REFUSED", "options")
        assert "PLUGIN_GRANTS=greedy:device=/dev/null:r" in error["hint"]
        assert await refused.leftovers() == []

        runner = await make_runner(plugins=plugin_folder, plugin_grants=grants)
        started = await runner.start(deployment_mode="greedy")
        assert started.error is None, started.error
        assert (await logs_with(runner, "\n", times=4))["logs"].splitlines() == [
            f"capabilities {1 << 13}",
            "null b''",
            "file weights",
            "writing 30",
        ]
        host = (await inspect(runner))["HostConfig"]
        assert host["Devices"] == [
            {"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"}
        ]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"][0] == "no-new-privileges:true"
        assert host["Privileged"] is False
        assert host["Memory"] == runner.settings.container_memory_limit
        again = await runner.start(deployment_mode="greedy", env_vars={"A": "1"}, replace=True)
        assert answer(again) == "started"
        again = await runner.start(deployment_mode="greedy", env_vars={"A": "1"})
        assert answer(again) == "already_running"
    finally:
        (folder / "model.txt").unlink(missing_ok=True)
        folder.rmdir()
