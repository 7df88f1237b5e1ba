"""Temporary folders of repositories: those of a process that was killed are deleted, and no others."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bot_runner_git.folders import PREFIX, RepositoryFolder, sweep

CHILD = """
from bot_runner_git.folders import RepositoryFolder
folder = RepositoryFolder()
(folder.path / "objects").mkdir()
(folder.path / "objects" / "pack").write_bytes(bytes(1000))
print(folder.path, flush=True)
input()
"""


def grown_old(path: Path) -> None:
    """Let a folder look as if it had been made an hour ago."""
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_killed_process_is_deleted_and_that_of_a_live_one_is_not(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    path = Path(child.stdout.readline().strip())
    assert path.parent == tmp_path
    grown_old(path)
    sweep(tmp_path)
    assert (path / "objects" / "pack").exists()
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdin.close()
    child.stdout.close()
    sweep(tmp_path)
    assert not path.exists()


def test_a_folder_that_was_only_just_made_is_left_alone(tmp_path: Path) -> None:
    made = tmp_path / f"{PREFIX}new"
    made.mkdir()
    sweep(tmp_path)
    assert made.exists()
    grown_old(made)
    sweep(tmp_path)
    assert not made.exists()


def test_a_link_of_that_name_leads_to_nothing_being_deleted(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    grown_old(target)
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    sweep(tmp_path)
    assert (target / "file").exists()


def test_a_folder_is_gone_after_use(tmp_path: Path) -> None:
    folder = RepositoryFolder()
    (folder.path / "file").touch()
    folder.close()
    folder.close()
    assert list(tmp_path.iterdir()) == []
