"""All containers are hardened, as the Engine has it and from inside; those that run once are removed."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.conftest import BASE_IMAGE, ENGINE, MakeRunner, RunnerUnderTest
from tests.core.examples import context_of, inspect, logs_with
from tests.core.images.building import FROM, Builder
from tests.package_index import PackageIndex, package_index

from bot_runner_worker.containers import Ended, OutputExceeded, hardened, probe_container, run, temporary
from bot_runner_worker.diagnostics.checks import engine as engine_checks
from bot_runner_worker.diagnostics.checks import images as image_checks
from bot_runner_worker.diagnostics.checks.context import check_context
from bot_runner_worker.engine import Engine, EngineError, containers
from bot_runner_worker.images.packages.container import InstallStep
from bot_runner_worker.isolation.probe import probe_isolation
from bot_runner_worker.model.identity import BUILD_ROLE, ROLE
from bot_runner_worker.seccomp import PROFILE
from bot_runner_worker.settings import Settings

MIB = 1024 * 1024

Found = dict[str, Any]
"""The Engine's description of a container."""

HARDENED: dict[str, Callable[[Found], bool]] = {
    "no new privileges": lambda found: "no-new-privileges:true" in (found["HostConfig"]["SecurityOpt"] or ()),
    "few system calls": lambda found: f"seccomp={PROFILE}" in (found["HostConfig"]["SecurityOpt"] or ()),
    "few capabilities": lambda found: (
        found["HostConfig"]["CapDrop"] == ["ALL"]
        and set(found["HostConfig"]["CapAdd"] or ()) <= MAY_HAVE.get(found["Config"]["Labels"][ROLE], set())
    ),
    "not privileged": lambda found: not found["HostConfig"]["Privileged"],
    "memory, without swap": lambda found: (
        found["HostConfig"]["Memory"] == found["HostConfig"]["MemorySwap"] > 0
    ),
    "CPU": lambda found: found["HostConfig"]["NanoCpus"] > 0 or found["HostConfig"]["CpuQuota"] > 0,
    "pids": lambda found: (found["HostConfig"]["PidsLimit"] or 0) > 0,
    "no log, or log limits": lambda found: (
        found["HostConfig"]["LogConfig"]["Type"] == "none"
        or {"max-size", "max-file"} <= set(found["HostConfig"]["LogConfig"]["Config"])
    ),
    "private IPC": lambda found: found["HostConfig"]["IpcMode"] == "private",
    "no restart unless it is a bot": lambda found: (
        found["HostConfig"]["RestartPolicy"]["Name"] in ("no", "") or found["Config"]["Labels"][ROLE] == "bot"
    ),
    "init": lambda found: found["HostConfig"].get("Init") is True,
    "no health check": lambda found: (
        (found["Config"].get("Healthcheck") or {"Test": ["NONE"]}) == {"Test": ["NONE"]}
    ),
}
"""What holds for each container."""

MAY_HAVE = {
    BUILD_ROLE: {
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
        "AUDIT_WRITE",
    }
}
"""Capabilities by role."""


async def bot(runner: RunnerUnderTest) -> None:
    started = await runner.start(deployment_mode="simple", code="import time; time.sleep(99)")
    assert started.ending == "success", started.data


async def packages(runner: RunnerUnderTest) -> None:
    started = await runner.start(
        deployment_mode="simple", code="import time; time.sleep(99)", requirements=["victim"]
    )
    assert started.ending == "success", started.data
    await runner.runner.images.packages.wait_closed()


async def dockerfile(runner: RunnerUnderTest) -> None:
    builder = Builder(runner)
    await builder.build(f"{FROM}RUN true\n")
    await builder.store.close()


async def isolation(runner: RunnerUnderTest) -> None:
    await probe_isolation(runner.engine, runner.settings, metadata=())


def check(function: Callable[..., Awaitable[Any]]) -> Callable[[RunnerUnderTest], Awaitable[None]]:
    async def make(runner: RunnerUnderTest) -> None:
        await function(await check_context(runner.engine, runner.settings))

    return make


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """An index with uv and a package."""
    with package_index(tmp_path_factory.mktemp("index")) as made:
        made.add_uv()
        made.add_wheel("victim", {"victim.py": "WORD = 1"})
        yield made


@contextmanager
def created(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Found]]:
    """Each container that is created, as the Engine describes it."""
    found: list[Found] = []
    create = containers.create

    async def look(engine: Engine, name: str, config: Any) -> str:
        container = await create(engine, name, config)
        found.append(await engine.json("GET", f"containers/{container}/json"))
        return container

    with monkeypatch.context() as patched:
        patched.setattr(containers, "create", look)
        yield found


BOT = ("bot", "10001:10001", "its own")
INSTALLS = ("build", "0:0", "its own")
COMPILES = ("build", "0:0", "none")
RUNS = ("build", "", "its own")
CHECKS = ("isolation-probe", "65534:65534", "none")
PROBES = ("isolation-probe", "65534:65534", "its own")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        # First, the operator's CA bundle comes into the base image.
        pytest.param(bot, [RUNS, BOT], id="bot"),
        # uv itself, the packages, and their bytecode beside the bot.
        pytest.param(packages, [RUNS, INSTALLS, INSTALLS, BOT, COMPILES], id="packages"),
        pytest.param(dockerfile, [RUNS, RUNS], id="dockerfile"),
        pytest.param(isolation, [PROBES, PROBES], id="isolation"),
        pytest.param(check(image_checks.base_image), [CHECKS], id="base image"),
        pytest.param(check(image_checks.package_index), [("isolation-probe", "0:0", "its own")], id="index"),
        pytest.param(check(engine_checks.disk_limit), [CHECKS], id="disk limit"),
    ],
)
async def test_every_container_is_hardened(
    make_runner: MakeRunner,
    index: PackageIndex,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[RunnerUnderTest], Awaitable[None]],
    expected: list[tuple[str, str, str]],
) -> None:
    runner = await make_runner(
        package_index_url=index.url, ca_bundle=index.ca, orchestrator_url="http://127.0.0.1:9"
    )
    with created(monkeypatch) as found:
        await make(runner)
    prefix = f"{runner.settings.docker_network}-"
    for each in found:
        weak = [what for what, holds in HARDENED.items() if not holds(each)]
        assert weak == [], each
    # In any order: on a busy machine, what no start waits for comes before the bot.
    assert Counter(
        (
            each["Config"]["Labels"][ROLE],
            each["Config"]["User"],
            "its own" if each["HostConfig"]["NetworkMode"].startswith(prefix) else "none",
        )
        for each in found
    ) == Counter(expected if found else [])
    # A storage that keeps no limit of a disk refuses the container with one.
    assert found or make.__qualname__.startswith("check")


def test_nothing_is_left_to_the_engines_defaults() -> None:
    settings = Settings.load(worker_token="x")
    step = InstallStep("sha256:1", ("true",)).config(settings)
    _, probe = probe_container(settings, ["true"])
    least = hardened(settings, memory=1, cpu=1, pids=1)
    for host in (least, step["HostConfig"], probe["HostConfig"]):
        assert host["SecurityOpt"] == ["no-new-privileges:true", f"seccomp={PROFILE}"]
        assert host["CapDrop"] == ["ALL"]
        assert host["Memory"] == host["MemorySwap"] > 0
        assert min(host["NanoCpus"], host["PidsLimit"]) > 0
        assert host["NetworkMode"] == "none"
        assert host["LogConfig"] == {"Type": "none"}
        assert host["RestartPolicy"] == {"Name": "no"}
    assert (step["User"], probe["User"]) == ("0:0", "65534:65534")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine(ENGINE) as engine:
        yield engine


def program(text: str) -> tuple[str, dict[str, Any]]:
    """A container that runs this program."""
    return probe_container(Settings.load(worker_token="x", base_image=BASE_IMAGE), ["python", "-c", text])


@pytest.mark.engine
async def test_a_container_that_runs_once_is_removed_whatever_happens(engine: Engine) -> None:
    async def ran(text: str, *, seconds: float = 30, **options: Any) -> Ended:
        name, config = program(text)
        try:
            async with temporary(engine, name, config) as container:
                return await run(engine, container, seconds=seconds, output_limit=1000, **options)
        finally:
            assert await containers.inspect(engine, name) is None

    ended = await ran("import sys; print('one\\ntwo'); sys.exit(3)")
    assert (ended.code, ended.out_of_memory, ended.lines) == (3, False, ["one", "two"])
    assert (await ran("import os; os.kill(os.getpid(), 9)")).out_of_memory is False
    assert (await ran("b = bytearray(1 << 30)")).out_of_memory is True
    with pytest.raises(TimeoutError):
        await ran("import time; time.sleep(99)", seconds=1)
    with pytest.raises(OutputExceeded):
        await ran("while True: print('x' * 100)")
    begun = asyncio.Event()

    async def begin(_: str) -> None:
        begun.set()

    running = asyncio.create_task(ran("import time; print(1, flush=True); time.sleep(99)", on_output=begin))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    name, config = program("pass")
    with pytest.raises(EngineError):
        async with temporary(engine, name, config | {"Image": "localhost/no-such-image:none"}):
            raise AssertionError


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
    """What the bot printed about its container."""
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
    assert host["SecurityOpt"] == ["no-new-privileges:true", f"seccomp={PROFILE}"]
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
        assert {mount["Destination"] for mount in found["Mounts"]} == {"/data", "/more"}
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
    make_runner: MakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    runner = await make_runner(container_runtime="no-such-runtime")
    failed = await runner.start()
    assert failed.ending == "failure"
    assert failed.data["error"]["code"] == "CONTAINER_RUNTIME_MISSING"
    assert "CONTAINER_RUNTIME" in failed.data["error"]["hint"]
    assert "no-such-runtime" in caplog.text
    assert "no-such-runtime" not in str(failed.data)
    assert await runner.leftovers() == []
