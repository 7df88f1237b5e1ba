"""The build sandbox on the real Engine: each limit is met, and nothing of a failed build is left."""

import asyncio
import json
from ipaddress import ip_network
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.images.building import FROM, Builder

from bot_runner_worker.engine import Engine, builds, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.identity import NAMESPACE
from bot_runner_worker.testing.waiting import stays, until

PYTHON = 'RUN ["python3", "-u", "-c", {}]\n'


def run_python(code: str) -> str:
    return FROM + PYTHON.format(json.dumps(code))


@pytest.fixture
async def builder(runner: RunnerUnderTest) -> Builder:
    return Builder(runner)


async def runs(builder: Builder, command: str) -> bool:
    """Whether the step with this command has its container, and the Engine describes it."""
    begun = any(command in message for message, _ in builder.said)
    listed = await builder.containers() if begun else []
    return any([await containers.inspect(builder.runner.engine, each) for each in listed])


async def builder_with(make_runner: MakeRunner, **settings: object) -> Builder:
    return Builder(await make_runner(**settings))


@pytest.mark.engine
async def test_a_fork_bomb_meets_the_limit_of_processes(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, build_pids_limit=50)
    bomb = """
import os, time
count = 1
try:
    while True:
        if os.fork() == 0:
            time.sleep(30)
        count += 1
except OSError as error:
    print("processes:", count, error)
    raise SystemExit(9)
"""
    error = await builder.failure(run_python(bomb))
    assert error.code == "BUILD_FAILED"
    assert "BUILD_PIDS_LIMIT" in error.hint
    (line,) = [line for line in error.details["log"] if line.startswith("processes: ")]
    assert int(line.split()[1]) <= 50
    assert "temporarily unavailable" in line


@pytest.mark.engine
async def test_memory_is_limited(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, build_memory_limit="64m")
    error = await builder.failure(run_python("x = bytearray(200_000_000); print(len(x))"))
    assert error.code == "BUILD_FAILED"
    assert "137" in error.message
    assert error.hint.startswith("The build ran out of memory"), error.hint


@pytest.mark.slow
async def test_memory_is_not_blamed_for_another_kill(builder: Builder) -> None:
    """Exit code 137 comes from any SIGKILL."""
    error = await builder.failure(FROM + "RUN sh -c 'kill -9 $$'; exit $?\n")
    assert "137" in error.message
    assert "not for lack of memory" in error.hint


@pytest.mark.slow
async def test_a_huge_file_is_refused_by_the_kernel(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, max_image_size="300m")
    error = await builder.failure(FROM + "RUN truncate -s 10G /huge\n")
    assert error.code == "BUILD_FAILED"
    assert "MAX_IMAGE_SIZE" in error.hint


@pytest.mark.slow
async def test_many_files_are_too_much_as_well(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, max_image_size="300m")
    code = """
import time
for number in range(40):
    time.sleep(0.1)
    open(f"/{number}", "wb").write(bytes(50_000_000))
time.sleep(30)
"""
    error = await builder.failure(run_python(code))
    assert error.code == "BUILD_LIMIT_EXCEEDED"
    assert error.details["limit"] == "disk"


@pytest.mark.engine
async def test_files_of_holes_never_come_to_take_room(make_runner: MakeRunner) -> None:
    """They are written in no time; whoever made an image of them would fill each, and be at it for long."""
    builder = await builder_with(make_runner, max_image_size="300m")
    disk = EngineDisk(builder.runner.engine, builder.runner.settings)
    free = [await disk.free() or 0]
    code = "for n in range(40): open(f'/x{n}', 'wb').truncate(200_000_000)"
    building = asyncio.create_task(builder.failure(run_python(code)))
    while not building.done():
        await asyncio.wait([building], timeout=0.1)
        free.append(await disk.free() or 0)
    error = await building
    assert (error.code, error.details["limit"]) == ("BUILD_LIMIT_EXCEEDED", "disk")
    # Others write at the same time, but not 8 GB.
    assert max(free) - min(free) < 2_000_000_000


@pytest.mark.slow
async def test_empty_files_take_room_as_well(make_runner: MakeRunner) -> None:
    """Of many, an image takes the Engine minutes."""
    builder = await builder_with(make_runner, max_image_size="200m")
    code = "for n in range(100_000): open(f'/tmp/{n}', 'w').close()"
    error = await builder.failure(run_python(code))
    assert (error.code, error.details["limit"]) == ("BUILD_LIMIT_EXCEEDED", "disk")


@pytest.mark.engine
async def test_a_step_may_not_forge_packets_nor_gain_privileges(builder: Builder) -> None:
    code = """
import socket
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except PermissionError:
    print("no raw socket")
for line in open("/proc/self/status"):
    if line.startswith(("NoNewPrivs", "Seccomp:")):
        print(*line.split())
raise SystemExit(1)
"""
    error = await builder.failure(run_python(code))
    assert error.details["log"][-3:] == ["no raw socket", "NoNewPrivs: 1", "Seccomp: 2"]


@pytest.mark.engine
async def test_the_image_as_a_whole_is_limited(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, max_image_size="200m")
    step = PYTHON.format(json.dumps("open('/f', 'wb').write(bytes(90_000_000))"))
    error = await builder.failure(FROM + step + step.replace("/f", "/g"))
    assert error.code == "IMAGE_TOO_LARGE"


WRITE = "RUN head -c 45M /dev/zero > /x{n}\n"
STEPS_THAT_WRITE = {
    "what they run": FROM + "".join(WRITE.format(n=n) for n in range(6)),
    "files of the context": FROM + "".join(f"COPY big /x{n}\n" for n in range(6)),
    "files of another stage": FROM.strip()
    + f" AS a\n{WRITE.format(n=0)}{FROM}"
    + "".join(f"COPY --from=a /x0 /y{n}\n" for n in range(6)),
    "other stages": "".join(FROM + WRITE.format(n=n) for n in range(6)) + FROM,
}


@pytest.mark.parametrize(
    "steps",
    [pytest.param(each, marks=pytest.mark.engine if "run" in each else pytest.mark.slow)
     for each in STEPS_THAT_WRITE],
)  # fmt: skip
async def test_the_sum_of_the_steps_is_limited_while_they_go_on(make_runner: MakeRunner, steps: str) -> None:
    """Each of them keeps to the limit."""
    builder = await builder_with(make_runner, max_image_size="120m")
    dockerfile = STEPS_THAT_WRITE[steps] + "RUN sleep 100\n"
    error = await builder.failure(dockerfile, files={"big": bytes(45_000_000)})
    assert error.code == "BUILD_LIMIT_EXCEEDED"
    assert error.details["limit"] == "disk"


@pytest.mark.slow
async def test_an_image_that_is_there_is_held_against_the_limits_again(make_runner: MakeRunner) -> None:
    """A start that is cancelled between its build and the look at the result leaves an image unseen."""
    lenient = await builder_with(make_runner)
    dockerfile = run_python("open('/f', 'wb').write(bytes(90_000_000))")
    await lenient.build(dockerfile)
    namespace = lenient.runner.settings.runner_namespace
    strict = await builder_with(make_runner, max_image_size="150m", runner_namespace=namespace)
    with pytest.raises(Rejected, match="larger than"):
        await strict.build(dockerfile)


@pytest.mark.slow
async def test_nothing_is_built_on_a_full_disk(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, min_free_disk=1 << 60)
    assert (await builder.failure(FROM + "RUN true\n")).code == "ENGINE_DISK_FULL"


@pytest.mark.slow
async def test_a_disk_that_fills_up_meanwhile_ends_the_build(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([1 << 40, 1 << 40])

    async def shrinking(self: EngineDisk) -> int:
        return next(free, 0)

    monkeypatch.setattr(EngineDisk, "free", shrinking)
    assert (await builder.failure(FROM + "RUN sleep 60\n")).code == "ENGINE_DISK_FULL"


@pytest.mark.slow
async def test_endless_output_is_ended(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, build_output_limit="2m")
    error = await builder.failure(FROM + "RUN yes\n")
    assert error.code == "BUILD_LIMIT_EXCEEDED"
    assert error.details["limit"] == "output"
    assert len(json.dumps(error.details)) < 100_000


@pytest.mark.slow
async def test_a_line_without_end_is_output_like_any_other(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, build_output_limit="64m")
    error = await builder.failure(FROM + "RUN head -c 50000000 /dev/zero | tr '\\0' a; false\n")
    assert error.code == "BUILD_FAILED"
    assert len(json.dumps(error.details)) < 100_000


@pytest.mark.engine
async def test_an_endless_build_is_ended(make_runner: MakeRunner) -> None:
    builder = await builder_with(make_runner, build_timeout_seconds=2)
    error = await builder.failure(FROM + "RUN sleep 1000\n")
    assert error.code == "BUILD_TIMED_OUT"


@pytest.mark.slow
async def test_a_cancelled_build_ends_in_the_middle_of_its_step_and_leaves_nothing(builder: Builder) -> None:
    task = asyncio.create_task(builder.build(FROM + "RUN echo one > /one\nRUN sleep 1000\n"))
    await until(lambda: runs(builder, "sleep 1000"))
    await stays(lambda: not task.done(), 0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await builder.containers() == []
    assert await builder.runner.leftovers() == []


# 0 at once; then FROM, ENV, COPY, and so on.
STEPS = [pytest.param(n, marks=pytest.mark.engine if n in (3, 7) else pytest.mark.slow) for n in range(8)]


@pytest.mark.parametrize("step", STEPS)
async def test_whatever_step_a_build_is_cancelled_at_nothing_is_left(builder: Builder, step: int) -> None:
    """The Engine ends a step that it is at, and makes an image of it, even if nobody listens any more."""
    dockerfile = FROM + "ENV a=b\nCOPY big /big\nRUN echo one > /one\nENV c=d\nCOPY big /other\n"
    files = {"big": bytes(20_000_000)}
    begun = asyncio.Event()
    builder.on_report = lambda message: message.startswith(f"step {step} ") and begun.set()
    task = asyncio.create_task(builder.build(dockerfile + "RUN sleep 1000\n", files))
    await (begun.wait() if step else asyncio.sleep(0.05))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await builder.containers() == []
    assert await builder.runner.leftovers() == []


@pytest.mark.engine
async def test_a_build_that_is_ended_begins_no_further_step(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Engine copies outside of any container: nobody could end that by killing something."""
    real, made = builds.build, list[dict[str, None]]()

    async def build(engine: Engine, *, images: dict[str, None], **more: Any) -> str:
        made.append(images)
        return await real(engine, images=images, **more)

    monkeypatch.setattr(builds, "build", build)
    begun = asyncio.Event()
    builder.on_report = lambda message: message.startswith("step 8 ") and begun.set()
    dockerfile = FROM + "".join(f"COPY big /x{n}\n" for n in range(60))
    task = asyncio.create_task(builder.build(dockerfile, {"big": bytes(20_000_000)}))
    await begun.wait()
    before = len(made[0])
    task.cancel()
    await asyncio.wait([task])
    assert len(made[0]) <= before + 2
    assert await builder.runner.leftovers() == []


@pytest.mark.slow
async def test_a_build_that_comes_to_its_end_in_spite_of_a_limit_leaves_nothing(
    make_runner: MakeRunner,
) -> None:
    builder = await builder_with(make_runner, build_output_limit="1m")
    error = await builder.failure(run_python("print('x' * 2_000_000)"))
    assert error.details["limit"] == "output"


@pytest.mark.engine
async def test_each_build_has_a_network_of_its_own(builder: Builder) -> None:
    script = "import socket, time; print(socket.gethostbyname(socket.gethostname())); time.sleep(2)"
    dockerfile = FROM + f"RUN python3 -c '{script}'; false\n"
    engine = builder.runner.engine
    building = [
        asyncio.create_task(builder.build(dockerfile + f"# {tenant}\n", tenant=tenant))
        for tenant in ("alice", "bob")
    ]
    found: dict[str, Any] = {}

    async def both_run() -> bool:
        for each in await builder.containers():
            inspection = await containers.inspect(engine, each) or {}
            name = inspection.get("HostConfig", {}).get("NetworkMode")
            if name and name not in found:
                found[name] = await engine.json("GET", f"networks/{name}", ignored=(404,))
        return len(found) == 2 and all(found.values())

    await until(both_run, what=lambda: f"two builds with a network each: {found}")
    ended = await asyncio.gather(*building, return_exceptions=True)
    subnets = [each["IPAM"]["Config"][0]["Subnet"] for each in found.values()]
    pool = builder.runner.settings.network_pool
    assert all(ip_network(each).subnet_of(pool) for each in subnets)
    for network in found.values():
        assert network["Options"]["com.docker.network.bridge.enable_icc"] == "false"
        assert network["Options"]["com.docker.network.bridge.name"].startswith("bot-")
    lines = [line for error in ended for line in getattr(error, "details", {})["log"]]
    for subnet in subnets:
        assert any(str(address) in lines for address in ip_network(subnet).hosts()), lines
    assert await builder.runner.leftovers() == []


@pytest.mark.slow
async def test_each_step_carries_our_labels_and_no_bots(builder: Builder) -> None:
    task = asyncio.create_task(builder.build(FROM + 'LABEL a="b"\nRUN sleep 60\n'))
    await until(lambda: runs(builder, "sleep 60"))
    (container,) = await builder.containers()
    inspection = await containers.inspect(builder.runner.engine, container) or {}
    labels = inspection["Config"]["Labels"]
    assert labels["io.avtomatika.bot-runner.namespace"] == builder.runner.settings.runner_namespace
    assert labels["io.avtomatika.bot-runner.role"] == "build"
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.slow
async def test_progress_names_the_step_and_how_much_is_done(builder: Builder) -> None:
    await builder.build(FROM + "RUN true\nRUN echo done\n")
    steps = [(message, fraction) for message, fraction in builder.said if message.startswith("step")]
    assert steps[0][1] == 0
    assert any("RUN echo done" in message for message, _ in steps)
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions, key=lambda each: each or 0)


async def parents(builder: Builder) -> dict[str, str]:
    """Ids of this namespace's images, those of single steps among them, with what each is built on."""
    engine, settings = builder.runner.engine, builder.runner.settings
    filters = {"label": [f"{NAMESPACE}={settings.runner_namespace}"]}
    rows = await engine.json("GET", "images/json", params={"all": True, "filters": filters})
    return {row["Id"]: row["ParentId"] for row in rows}


@pytest.mark.slow
async def test_other_images_survive_a_failed_build(builder: Builder) -> None:
    first = await builder.build(FROM + "RUN echo shared\nRUN echo first\n")
    with pytest.raises(Exception, match="build failed"):
        await builder.build(FROM + "RUN echo shared\nRUN echo second\nRUN false\n")
    again = await builder.build(FROM + "RUN echo shared\nRUN echo first\n")
    assert again.id == first.id
    left = await parents(builder)
    lineage = [first.id]
    while lineage[-1]:
        lineage.append(left.pop(lineage[-1], ""))
    assert left == {}, "only what the first image is made of may be left"


@pytest.mark.slow
async def test_what_several_workers_remove_at_once_is_gone_for_all_of_them(builder: Builder) -> None:
    """Workers whose builds of the same content were given up remove the same half-built images."""
    engine = builder.runner.engine
    for number in range(5):
        await builder.build(FROM + "".join(f'LABEL round{number}="{each}"\n' for each in range(6)))
        built = await parents(builder)
        removals = [engine_images.remove(engine, image, all_tags=True) for image in built for _ in range(3)]
        await asyncio.gather(*removals)
        assert set(await parents(builder)) & set(built) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost",
    [
        "No such image: sha256:0123",
        'unable to find image "sha256:0123"',
        "failed to get digest sha256:0123: open",
    ],
)
async def test_a_build_whose_step_another_worker_removed_is_done_again(
    builder: Builder, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps nothing holds the image of the first, and while the builder looks for one in its
    cache, nothing holds those of other builds. The fault is injected: the moment is short.
    """
    real, faults = builds.build, iter([lost, lost])

    async def unlucky(*arguments: Any, **options: Any) -> str:
        if (fault := next(faults, None)) is not None:
            raise builds.BuildError(fault, [])
        return await real(*arguments, **options)

    monkeypatch.setattr(builds, "build", unlucky)
    assert (await builder.build(FROM + "ENV a=b\n")).id
    assert next(faults, None) is None
