"""What a bot's container is confined by, as the Engine has it and as it looks from inside."""

import json
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import context_of, inspect, logs_with

MIB = 1024 * 1024

LOOK_AROUND = """
import json, os, resource, time
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
mounts = {line.split()[1]: line.split()[2:4] for line in open("/proc/mounts")}
def number(*paths):
    for path in paths:
        try: return open("/sys/fs/cgroup/" + path).read().strip()
        except OSError: pass
facts = {
    "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"], "user": os.getuid(),
    "folder": os.getcwd(), "first_process": open("/proc/1/comm").read().strip(), "mounts": mounts,
    "devices": sorted(os.listdir("/dev")), "socket": os.path.exists("/var/run/docker.sock"),
    "memory": number("memory/memory.limit_in_bytes", "memory.max"),
    "memory_and_swap": number("memory/memory.memsw.limit_in_bytes"),
    "swap": number("memory.swap.max"),
    "processes": number("pids/pids.max", "pids.max"),
    "cpu": number("cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us", "cpu.max"),
}
print(json.dumps(facts), flush=True)
while True: time.sleep(1)
"""


async def seen_inside(runner: RunnerUnderTest) -> dict[str, Any]:
    """What the bot printed about its surroundings."""
    facts: dict[str, Any] = json.loads((await logs_with(runner, "}\n"))["logs"])
    return facts


@pytest.mark.engine
async def test_a_bot_is_confined_from_inside(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=0)
    limits = {"memory_mb": 64, "pids": 20, "cpu_cores": 0.25}
    await runner.start(code=LOOK_AROUND, deployment_mode="simple", resource_limits=limits)
    facts = await seen_inside(runner)
    assert set(facts["capabilities"]) == {"0000000000000000"}
    assert facts["no_new_privileges"].strip() == "1"
    assert facts["seccomp"].strip() == "2"
    assert facts["user"] == 10001
    assert facts["folder"] == "/app"
    assert facts["first_process"] == "docker-init"
    assert not facts["socket"]
    assert not {"mem", "kmsg", "sda", "loop0", "fuse"} & set(facts["devices"])
    assert int(facts["memory"]) == 64 * MIB
    # Version 1 counts both together, version 2 swap alone.
    assert facts["memory_and_swap"] in (None, str(64 * MIB))
    assert facts["swap"] in (None, "0")
    assert facts["processes"] == "20"
    assert facts["cpu"].split()[0] == "25000"


@pytest.mark.engine
async def test_a_bot_is_confined_as_the_engine_has_it(make_runner: MakeRunner) -> None:
    runner = await make_runner(start_burst_cpu=0)
    await runner.start()
    found = await inspect(runner)
    host = found["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Init"] is True
    assert host["Memory"] == host["MemorySwap"] == runner.settings.container_memory_limit
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 128
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": str(5 * MIB), "max-file": "2"},
    }
    assert host["Privileged"] is False
    assert host["PublishAllPorts"] is False
    assert host["OomKillDisable"] in (False, None)
    for name in ("Binds", "Mounts", "Devices", "DeviceRequests", "PortBindings", "VolumesFrom", "GroupAdd"):
        assert not host[name] if name in host else True
    # Nothing of the host's is shared.
    assert (host["PidMode"], host["UTSMode"], host["IpcMode"]) == ("", "", "private")
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 0}
    assert found["Mounts"] == []
    assert found["Config"]["Healthcheck"] == {"Test": ["NONE"]}


@pytest.mark.slow
async def test_an_image_weakens_nothing(make_runner: MakeRunner) -> None:
    """Its volumes get a size, its health check is off, and its labels are not taken for the runner's."""
    runner = await make_runner()
    base = runner.settings.base_image
    dockerfile = (
        f"FROM {base}\n"
        "VOLUME /data /more\n"
        "HEALTHCHECK --interval=1s CMD touch /tmp/checked\n"
        "LABEL io.avtomatika.bot-runner.expires-at=2000-01-01T00:00:00Z \\\n"
        "      io.avtomatika.bot-runner.user-id=mallory io.avtomatika.bot-runner.foreign=yes own=kept\n"
        "USER root\n"
        'ENTRYPOINT ["python", "-c"]\n'
        f"CMD [{json.dumps(LOOK_AROUND)}]\n"
    )
    name = f"{runner.settings.runner_namespace}-hostile:1"
    await build(runner, dockerfile, name)
    try:
        allowed = await make_runner(local_images_allowed=name)
        started = await allowed.start(deployment_mode="image", docker_image=name)
        assert started.ending == "success", started.data
        found = await inspect(allowed)
        labels = found["Config"]["Labels"]
        assert labels["io.avtomatika.bot-runner.user-id"] == "alice"
        assert labels["io.avtomatika.bot-runner.expires-at"] == started.data["expires_at"]
        assert labels["io.avtomatika.bot-runner.foreign"] == ""
        assert labels["own"] == "kept"
        assert found["Config"]["Healthcheck"]["Test"] == ["NONE"]
        assert "Health" not in found["State"]
        assert found["Mounts"] == []
        facts = await seen_inside(allowed)
        for path in ("/data", "/more"):
            kind, options = facts["mounts"][path]
            assert kind == "tmpfs"
            assert f"size={64 * 1024}k" in options
            assert "nosuid" in options
            assert "nodev" in options
        assert set(facts["capabilities"]) == {"0000000000000000"}
        await allowed.runner.runtime.remove_all()
    finally:
        await runner.engine.json("DELETE", f"images/{name}", params={"force": True})


async def build(runner: RunnerUnderTest, dockerfile: str, tag: str) -> None:
    """Build an image as somebody else would."""
    headers = {"Content-Type": "application/x-tar"}
    async with runner.engine.request(
        "POST", "build", params={"t": tag}, data=context_of(dockerfile), headers=headers, seconds=300
    ) as answer:
        text = await answer.text()
    assert "Successfully tagged" in text, text[-500:]


@pytest.mark.slow
async def test_another_runtime_is_used_where_the_operator_wants_one(make_runner: MakeRunner) -> None:
    """runc goes by this name on each Engine; gVisor's would be runsc."""
    runner = await make_runner(container_runtime="io.containerd.runc.v2")
    await runner.start()
    assert (await inspect(runner))["HostConfig"]["Runtime"] == "io.containerd.runc.v2"


@pytest.mark.slow
async def test_a_runtime_that_the_engine_does_not_have_is_the_operators_fault(
    make_runner: MakeRunner,
) -> None:
    runner = await make_runner(container_runtime="no-such-runtime")
    failed = await runner.start()
    assert failed.ending == "failure"
    assert failed.data["error"]["code"] == "CONTAINER_RUNTIME_MISSING"
    assert "CONTAINER_RUNTIME" in failed.data["error"]["hint"]
    assert "no-such-runtime" in failed.data["error"]["details"]["reason"]
    assert await runner.leftovers() == []
