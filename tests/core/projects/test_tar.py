"""The tar reader: every ordinary tar is read; the corpus holds the others."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.core.projects.trees import writer
from tests.corpus.tars import header, member, tar

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects import Links, read_tar

FILES = {
    "a.txt": b"hello",
    "folder/" + "d" * 90 + "/" + "n" * 120 + ".py": b"x" * 100_000,
    "\u0444\u0430\u0439\u043b.txt": b"",
    "run.sh": b"#!/bin/sh\n",
}


class OneByteAtATime(io.BytesIO):
    """As a pipe may behave."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 7))


def read(archive: bytes, links: Links = Links.REFUSE) -> tuple[dict[str, bytes], tuple[str, ...]]:
    with writer() as collecting:
        read_tar(OneByteAtATime(archive), collecting, links=links)
        tree = collecting.finish()
    content = {path: tree.read(path, 1 << 20) for path in tree.files}
    tree.close()
    return content, tree.notes


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_the_formats_of_python(form: int) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=form) as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1.5
            archive.addfile(info, io.BytesIO(content))
    assert read(output.getvalue())[0] == FILES


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7", "oldgnu"])
def test_the_formats_of_gnu_tar(form: str, tmp_path: Path) -> None:
    files = {"a.txt": b"hello", "b/c.py": b"x" * 1000}
    for name, content in files.items():
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    made = subprocess.run(
        ["tar", f"--format={form}", "-cf", "-", "-C", str(tmp_path / "p"), "."],
        capture_output=True,
        check=True,
    )
    assert read(made.stdout)[0] == files


def test_the_executable_bit_is_kept_and_no_other() -> None:
    with writer() as collecting:
        read_tar(io.BytesIO(tar(member("a", mode=0o6755), member("b", mode=0o4644))), collecting)
        tree = collecting.finish()
    assert {path: entry.executable for path, entry in tree.files.items()} == {"a": True, "b": False}


def test_links_are_refused_or_left_out_with_a_note() -> None:
    archive = tar(header("l", kind=b"2", link="x"), member("a"))
    with pytest.raises(Rejected) as caught:
        read(archive)
    assert caught.value.code == "UNSAFE"
    content, notes = read(archive, Links.SKIP)
    assert list(content) == ["a"]
    assert notes == ("the symbolic link l was left out",)


def test_a_hard_link_is_never_left_out_silently() -> None:
    with pytest.raises(Rejected):
        read(tar(header("l", kind=b"1", link="x")), Links.SKIP)
