"""A bot that writes more than it may is stopped and told why; its neighbours do not notice."""

import pytest
from tests.conftest import MakeRunner
from tests.core.bots.watched import nobody, watched
from tests.core.examples import answer, logs_with, status

from bot_runner_worker import containers as hardened_containers
from bot_runner_worker.bots import limits_watch
from bot_runner_worker.engine import containers
from bot_runner_worker.images.disk import EngineDisk, Room

MIB = 1024 * 1024

ANSWERING = """
import time
while True:
    print('tick', flush=True)
    time.sleep(0.5)
"""

# It ignores SIGTERM and never stops writing.
FILLER = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
number = 0
while True:
    with open(f'/tmp/fill-{number}', 'wb') as file:
        for _ in range(20):
            file.write(bytes(1024 * 1024))
    number += 1
    time.sleep(0.01 if number < 10 else 1)
"""

MANY_FILES = """
import os, time
for folder in range(20):
    os.makedirs(f'/tmp/many/{folder}')
    for number in range(1000):
        open(f'/tmp/many/{folder}/{number}', 'w').close()
print('ready', flush=True)
while True:
    time.sleep(1)
"""

ONE_FILE = """
with open('/tmp/file', 'wb', 0) as file:
    for _ in range(99):
        file.write(bytes(1024 * 1024))
"""

IN_MEMORY = """
import time
with open('/dev/shm/file', 'wb') as file:
    file.write(bytes(30 * 1024 * 1024))
print('ready', flush=True)
while True:
    time.sleep(1)
"""


@pytest.mark.engine
async def test_a_bot_that_fills_the_disk_is_stopped_beside_quiet_ones(
    make_runner: MakeRunner, often: None
) -> None:
    runner = await make_runner(container_disk_limit=50 * MIB)
    await runner.start(bot_id="quiet", code=ANSWERING)
    await runner.start(bot_id="memory", code=IN_MEMORY)
    async with watched(runner) as found:
        await runner.start(bot_id="filler", code=FILLER)
        assert await found.end() == ("filler", "bot_stopped", "disk_limit")
        details = found.events[-1].details
        assert details["disk_bytes"] > details["limit_bytes"] == 50 * MIB
        report = await status(runner, bot_id="filler")
        assert report["status"] == "stopped"
        assert "wrote more" in report["reason"]
        assert "CONTAINER_DISK_LIMIT" in report["hint"]
        for other in ("quiet", "memory"):
            report = await status(runner, bot_id=other)
            assert (report["status"], report["restart_count"]) == ("running", 0)
    # What it said stays readable, and started again it has an empty disk.
    logs = await runner.task("get_logs", user_id="alice", bot_id="filler")
    assert logs.data["logs"].startswith("ready")
    assert answer(await runner.start(bot_id="filler")) == "started"


@pytest.mark.slow
async def test_files_without_content_count_as_well(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    # The Engine adds up the lengths of files, which are nothing here; each takes its place all the same.
    monkeypatch.setattr(hardened_containers, "SLOW_WALK", 0.0)
    runner = await make_runner(container_disk_limit=50 * MIB)
    await runner.start(bot_id="quiet")
    async with watched(runner) as found:
        await runner.start(bot_id="many", code=MANY_FILES)
        assert await found.end() == ("many", "bot_stopped", "disk_limit")
        assert (await status(runner, bot_id="quiet"))["status"] == "running"


@pytest.mark.slow
async def test_a_quickly_shrinking_disk_is_looked_at_out_of_turn(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await make_runner()
    await runner.start()
    room = Room(size=10_000 * MIB, files=1_000_000)

    async def shown(self: EngineDisk) -> Room:
        return room

    monkeypatch.setattr(EngineDisk, "room", shown)
    monkeypatch.setattr(limits_watch, "DISK_INTERVAL", 3600.0)
    monkeypatch.setattr(limits_watch, "URGENT_SHARE", 1e9)
    looks = 0
    inspect = containers.inspect

    async def counted(*args: object, **options: object) -> object:
        nonlocal looks
        looks += 1
        return await inspect(*args, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(containers, "inspect", counted)
    watch = limits_watch.DiskWatch(runner.engine, runner.settings)

    async def looked() -> bool:
        nonlocal looks
        looks = 0
        await watch.look(nobody)
        return looks == 1

    assert await looked()
    assert not await looked()
    room = Room(room.size - 40 * MIB, room.files)
    assert not await looked()
    # What comes back in between does not hide what goes.
    room = Room(room.size + 500 * MIB, room.files)
    assert not await looked()
    room = Room(room.size - 60 * MIB, room.files)
    assert await looked()
    assert not await looked()
    room = Room(room.size, room.files - 30_000)
    assert await looked()


@pytest.mark.slow
async def test_a_single_file_ends_before_it_takes_the_whole_disk(make_runner: MakeRunner) -> None:
    # Nobody watches here.
    runner = await make_runner(container_disk_limit=10 * MIB)
    await runner.start(code=ONE_FILE)
    await logs_with(runner, "File too large")
