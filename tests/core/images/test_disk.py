"""Where a worker sees how much room the Engine's disk has, and what it says where it does not."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.conftest import BASE_IMAGE, RunnerUnderTest
from tests.images.docker_cli import docker

from bot_runner_worker.diagnostics.results import State, disk_space
from bot_runner_worker.engine import Engine
from bot_runner_worker.images.disk import EngineDisk, Room, seen_at
from bot_runner_worker.model.errors import Unavailable
from bot_runner_worker.settings import Settings

ROOT = "/data/of/the/engine"
OVERLAY = (
    f"22 1 0:63 / / rw shared:1 - overlay overlay rw,lowerdir={ROOT}/l/A,upperdir={ROOT}/overlay2/x/diff\n"
)
OTHERS = "23 22 0:5 / /proc rw - proc proc rw\n24 22 8:1 /a /b rw - ext4 /dev/sda rw\n"


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        (OVERLAY + OTHERS, "/"),
        (OTHERS + OVERLAY.replace(" shared:1", ""), "/"),
        # A container of another Engine, an overlay elsewhere, a root of another kind.
        (OVERLAY.replace(ROOT, "/another"), None),
        (OVERLAY.replace(ROOT, f"{ROOT}-b"), None),
        (OVERLAY.replace(" / / ", " / /elsewhere "), None),
        (OVERLAY.replace(" - overlay ", " - ext4 "), None),
        (OTHERS, None),
        ("", None),
    ],
)
def test_a_container_sees_the_disk_of_its_own_engine_only(mounts: str, found: str | None) -> None:
    assert seen_at(ROOT, mounts) == found


def test_the_engines_folder_itself_comes_first(tmp_path: Path) -> None:
    assert seen_at(str(tmp_path), OVERLAY.replace(ROOT, str(tmp_path))) == str(tmp_path)


@pytest.mark.parametrize(("room", "full"), [
    (Room(1 << 40, 4_000, 100_000), True),
    (Room(1 << 40, 6_000, 100_000), False),
    (Room(1 << 40, 0, 0), False),  # btrfs makes them as they are needed
])  # fmt: skip
async def test_a_disk_is_also_full_when_no_file_can_be_made(
    room: Room, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions of empty files take none of its bytes."""

    async def shown(self: EngineDisk) -> Room:
        return room

    monkeypatch.setattr(EngineDisk, "room", shown)
    disk = EngineDisk(Engine("unix:///nowhere"), Settings.load(worker_token=SecretStr("unused")))
    if not full:
        await disk.check()
        return
    with pytest.raises(Unavailable) as caught:
        await disk.check()
    assert caught.value.code == "ENGINE_DISK_FULL"


def test_a_disk_that_is_not_seen_is_a_warning_with_what_to_do() -> None:
    found = disk_space(None, 1)
    assert found.state is State.WARNING
    assert "MIN_FREE_DISK is off" in found.finding
    assert "/var/lib/docker:ro" in found.remedy


@pytest.mark.engine
async def test_a_container_sees_the_engines_disk_without_any_mount(
    runner: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the README's `docker run` and compose.yaml start a worker."""
    root = str((await runner.engine.json("GET", "info"))["DockerRootDir"])
    there = await EngineDisk(runner.engine, runner.settings).free()
    look = "import os; print(os.statvfs('/').f_bavail * os.statvfs('/').f_frsize)"
    show = ["python3", "-c", f"{look}; print(open('/proc/self/mountinfo').read())"]
    said = await docker("run", "--rm", "--network", "none", "--read-only", BASE_IMAGE, *show)
    free, _, mounts = said.partition("\n")
    monkeypatch.setattr(os.path, "isdir", lambda path: False)  # the container has no such folder
    assert seen_at(root, mounts) == "/"
    assert there is not None
    assert abs(there - int(free)) < 2_000_000_000
