"""Project trees: the checks of names and sizes, and what can be taken out of a tree."""

import io
import tracemalloc
from pathlib import Path

import pytest
from tests.core.projects.trees import deadline, tree_of, writer

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.projects import ProjectTreeWriter, TreeCodes


def test_a_file_cannot_have_the_name_of_a_folder_in_other_letters() -> None:
    with writer() as collecting:
        collecting.add("A/b", io.BytesIO(), 0)
        with pytest.raises(Rejected) as caught:
            collecting.add("a", io.BytesIO(), 0)
    assert caught.value.code == "UNSAFE"


@pytest.mark.parametrize("path", ["", "x/"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """Besides what the corpus has."""
    with writer() as collecting, pytest.raises(Rejected) as caught:
        collecting.add(path, io.BytesIO(), 0)
    assert caught.value.code == "UNSAFE"


def test_sizes_are_refused_before_anything_is_read() -> None:
    with writer(max_size=10) as collecting, pytest.raises(Rejected) as caught:
        collecting.add("a", io.BytesIO(b"x" * 20), 11)
    assert caught.value.code == "LARGE"


def test_files_are_counted() -> None:
    with writer(max_files=2) as collecting:
        collecting.add("a", io.BytesIO(), 0)
        collecting.add("b", io.BytesIO(), 0)
        with pytest.raises(Rejected) as caught:
            collecting.add("c", io.BytesIO(), 0)
    assert caught.value.code == "LARGE"


def test_a_file_that_ends_early_is_refused() -> None:
    with writer() as collecting, pytest.raises(Rejected) as caught:
        collecting.add("a", io.BytesIO(b"x"), 2)
    assert caught.value.code == "BROKEN"


def test_a_large_tree_stays_out_of_memory() -> None:
    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    with ProjectTreeWriter(max_size=1 << 30, codes=TreeCodes(), deadline=deadline()) as collecting:
        tracemalloc.start()
        collecting.add("a", Zeros(), 100 * 1024 * 1024)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * 1024 * 1024
        collecting.finish().close()


def test_the_single_top_folder_of_an_archive_is_taken_off() -> None:
    assert set(tree_of({"p/a": "", "p/b/c": ""}).without_single_top_folder().files) == {"a", "b/c"}
    assert set(tree_of({"p/a": "", "b": ""}).without_single_top_folder().files) == {"p/a", "b"}


def test_a_folder_of_a_tree_is_a_tree() -> None:
    tree = tree_of({"p/a": "text", "pa": "", "p/q/r": ""})
    folder = tree.folder("p")
    assert set(folder.files) == {"a", "q/r"}
    assert folder.read("a", 2) == b"te"
    assert not tree.folder("nope").files


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with writer(max_size=1 << 23) as collecting:
        collecting.add("a", io.BytesIO(bytes(1 << 22)), 1 << 22)
        assert list(tmp_path.iterdir()) == []
        collecting.finish().close()
