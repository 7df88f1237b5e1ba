"""Hidden files count: deleted ones that are open or mapped, and those that the Engine lends to a bot."""

import base64
import json

import pytest
from tests.conftest import BASE_IMAGE, MakeRunner
from tests.core.bots.watched import nobody, watched
from tests.core.examples import context_of, inspect, logs_with, status
from tests.core.images.building import FROM, Builder

from bot_runner_worker.bots import hidden_files, limits_watch
from bot_runner_worker.bots.hidden_files import HiddenFiles
from bot_runner_worker.bots.limits_watch import DiskWatch, LimitViolation
from bot_runner_worker.engine import Engine, EngineError, containers
from bot_runner_worker.images.disk import EngineDisk, Room
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.settings import Settings

MIB = 1024 * 1024

FILES = """
import ctypes, mmap, os, threading, time
def deleted(name, size):
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    os.unlink(name)
    for _ in range(size):
        os.write(file, bytes(1 << 20))
    return file
"""

HIDING = (
    FILES
    + """
opened = deleted("/tmp/opened", 3)
again = os.dup(opened)
# mmap.mmap would keep the file open.
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
mapped = deleted("/tmp/mapped", 5)
assert libc.mmap(None, ctypes.c_size_t(4096), 1, 1, mapped, ctypes.c_long(0)) != -1
os.close(mapped)
memory = deleted("/dev/shm/memory", 2)
def alone():
    CLOSE_RANGE, UNSHARE = 436, 2
    assert libc.syscall(CLOSE_RANGE, 9000, 9001, UNSHARE) == 0
    threads = deleted("/tmp/threads", 7)
    print("ready", flush=True)
    time.sleep(3600)
threading.Thread(target=alone).start()
"""
)

LENT = """
import time
with open("/etc/hosts", "ab", 0) as file:
    for _ in range(9):
        file.write(bytes(1 << 20))
print("ready", flush=True)
time.sleep(3600)
"""

IN_SOCKETS = (
    FILES
    + """
import socket
one, other = socket.socketpair()
for _ in range(3):
    file = deleted("/tmp/sent", 2)
    socket.send_fds(one, [b"x"], [file])
    os.close(file)
print("ready", flush=True)
time.sleep(3600)
"""
)

FILLER = (
    FILES
    + """
print("ready", flush=True)
kept = [deleted("/tmp/filler", 20) for _ in range(15)]
print("filled", flush=True)
time.sleep(3600)
"""
)
"""300 MiB that no folder shows."""


@pytest.mark.engine
async def test_what_is_deleted_but_open_or_mapped_is_counted_once(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    await runner.start(bot_id="hiding", deployment_mode="simple", code=HIDING)
    await runner.start(bot_id="quiet")
    await logs_with(runner, "ready", bot_id="hiding")
    hiding, quiet = [(await inspect(runner, bot_id=each))["Id"] for each in ("hiding", "quiet")]
    hidden = HiddenFiles(runner.engine, runner.settings)
    before = await runner.containers()
    sizes = await hidden.count([hiding, quiet], None)
    # Two files that are open, one of them in a thread alone, and one that is mapped; none that is in memory.
    assert 0 <= sizes[hiding].size - 15 * MIB < MIB
    assert sizes[quiet].size < MIB
    assert sizes[hiding].on_their_way == sizes[quiet].on_their_way == 0
    assert await runner.containers() == before
    # The Engine sees nothing of it.
    found = await containers.inspect(runner.engine, hiding, size=True)
    assert found is not None
    assert found["SizeRw"] < MIB


@pytest.mark.engine
async def test_a_bot_that_keeps_deleted_files_open_is_stopped_and_told(
    make_runner: MakeRunner, often: None
) -> None:
    """300 MiB with a limit of 64."""
    runner = await make_runner(container_disk_limit=64 * MIB)
    await runner.start(bot_id="quiet")
    async with watched(runner) as found:
        await runner.start(bot_id="filler", deployment_mode="simple", code=FILLER)
        assert await found.end() == ("filler", "bot_stopped", "disk_limit")
        details = found.events[-1].details
        assert details["disk_bytes"] >= details["hidden_bytes"] > details["limit_bytes"] == 64 * MIB
        report = await status(runner, bot_id="filler")
        assert report["status"] == "stopped"
        assert "close those that it has deleted" in report["hint"]
        assert (await status(runner, bot_id="quiet"))["status"] == "running"


@pytest.mark.engine
async def test_who_keeps_files_in_sockets_is_stopped_once_the_disk_is_full(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    """Nobody can tell how large they are."""
    runner = await make_runner(min_free_disk=1000 * MIB)
    await runner.start(bot_id="quiet")
    await runner.start(bot_id="sender", deployment_mode="simple", code=IN_SOCKETS)
    await logs_with(runner, "ready", bot_id="sender")
    room = Room(2000 * MIB, 1_000_000)

    async def shown(self: EngineDisk) -> Room:
        return room

    monkeypatch.setattr(EngineDisk, "room", shown)
    for module in (hidden_files, limits_watch):
        monkeypatch.setattr(module, "URGENT_SHARE", 1e9)
    watch = DiskWatch(runner.engine, runner.settings)
    await watch.look(nobody)
    found: list[LimitViolation] = []

    async def note(violation: LimitViolation) -> None:
        found.append(violation)

    room = Room(900 * MIB, 1_000_000)
    await watch.look(note)
    assert [each.bot.bot_id for each in found] == ["sender"]
    assert found[0].details["files_in_sockets"] == 3


@pytest.mark.slow
async def test_a_step_of_a_build_hides_no_more_than_an_image_may_have(
    make_runner: MakeRunner, often: None
) -> None:
    runner = await make_runner(max_image_size=96 * MIB)
    code = FILES + "kept = [deleted(f'/{n}', 40) for n in range(4)]\ntime.sleep(3600)"
    builder = Builder(runner)
    async with watched(runner):
        error = await builder.failure(f"{FROM}RUN {json.dumps(['python3', '-c', code])}\n")
    assert error.code == "BUILD_FAILED"
    assert "deleted but kept open" in error.hint


@pytest.mark.slow
async def test_what_the_engine_lends_to_a_bot_counts_as_well(make_runner: MakeRunner, often: None) -> None:
    runner = await make_runner(container_disk_limit=8 * MIB)
    dockerfile = f"FROM {BASE_IMAGE}\nUSER 0\nCMD {json.dumps(['python3', '-c', LENT])}\n"
    archive = base64.b64encode(context_of(dockerfile)).decode()
    async with watched(runner) as found:
        started = await runner.start(deployment_mode="custom", archive=archive)
        assert started.error is None, started.error
        assert await found.end() == ("bot", "bot_stopped", "disk_limit")
    # It stays there as long as the stopped bot does.
    (kept,) = await runner.runner.runtime.inspect(BotKey("alice", "bot"), size=True)
    assert kept.disk_bytes > 8 * MIB


async def test_it_counts_out_of_turn_when_a_quarter_of_the_limit_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hidden_files, "URGENT_SHARE", 1e9)
    settings = Settings.load(worker_token="x", container_disk_limit=64 * MIB)
    hidden = HiddenFiles(Engine("unix:///nowhere"), settings)
    assert hidden.is_due(None), "at first"
    await hidden.count([], Room(1000 * MIB, 0))
    assert not hidden.is_due(None)
    assert not hidden.is_due(Room(990 * MIB, 0))
    # What comes back in between does not hide what goes.
    assert not hidden.is_due(Room(1100 * MIB, 0))
    assert hidden.is_due(Room(1080 * MIB, 0))
    await hidden.count([], Room(1080 * MIB, 0))
    assert not hidden.is_due(Room(1080 * MIB, 0))


async def test_an_engine_that_refuses_the_count_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Exception] = [EngineError(403, "no"), TimeoutError()]

    async def answer(*_: object, **__: object) -> dict[str, int]:
        raise answers.pop(0)

    async def remove(*_: object) -> None:
        """No former count has left anything."""

    monkeypatch.setattr(containers, "remove", remove)
    monkeypatch.setattr(hidden_files, "json_answer", answer)
    hidden = HiddenFiles(Engine("unix:///nowhere"), Settings.load(worker_token="x"))
    for _ in range(2):
        assert await hidden.count(["id"], None) == {}
    (said,) = caplog.records
    assert said.message == "hidden files of bots cannot be counted: no (status 403)"
    assert not hidden.is_due(None)
