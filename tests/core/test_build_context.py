"""Build contexts: named by their content, within bounds, and nothing left when making one fails."""

import io
import tarfile
from pathlib import Path

import pytest

from bot_runner_worker.images.context import BuildContext, BuildContextWriter
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.paths import checked_path


def context(files: dict[str, str], *, executable: frozenset[str] = frozenset()) -> BuildContext:
    with BuildContextWriter(max_size=10_000) as writer:
        for path, text in files.items():
            writer.add(path, text, executable=path in executable)
        return writer.finish()


async def members(built: BuildContext) -> dict[str, tuple[bytes, int, float, int]]:
    data = b"".join([chunk async for chunk in built.chunks()])
    assert len(data) == built.size
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            each.name: (tar.extractfile(each).read(), each.mode, each.mtime, each.uid)  # type: ignore[union-attr]
            for each in tar
        }


async def test_holds_the_files_normalised() -> None:
    built = context({"Dockerfile": "FROM x", "app/./bot.py": "code"}, executable=frozenset({"app/./bot.py"}))
    assert await members(built) == {
        "Dockerfile": (b"FROM x", 0o644, 0, 0),
        "app/bot.py": (b"code", 0o755, 0, 0),
    }


def test_the_same_content_has_the_same_name_in_any_order() -> None:
    one = context({"Dockerfile": "FROM x", "a": "1", "b": "2"})
    other = context({"b": "2", "a": "1", "Dockerfile": "FROM x"})
    assert one.digest == other.digest


@pytest.mark.parametrize(
    "files",
    [
        {"Dockerfile": "FROM x", "a": "2"},
        {"Dockerfile": "FROM y", "a": "1"},
        {"Dockerfile": "FROM x", "b": "1"},
        {"Dockerfile": "FROM x"},
    ],
)
def test_other_content_has_another_name(files: dict[str, str]) -> None:
    assert context(files).digest != context({"Dockerfile": "FROM x", "a": "1"}).digest


def test_a_mode_is_content() -> None:
    files = {"Dockerfile": "FROM x", "run.sh": "1"}
    assert context(files).digest != context(files, executable=frozenset({"run.sh"})).digest


@pytest.mark.parametrize("path", ["", "a/..", "a/", ".", "\ud800"])
def test_paths_that_are_refused(path: str) -> None:
    """Besides what the corpus has."""
    with pytest.raises(Rejected) as caught:
        checked_path(path)
    assert caught.value.code == "INVALID_PATH"
    assert caught.value.hint


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("a/b", "a"), ("é", "e\u0301"), ("a//b", "a/b")])
def test_two_files_in_one_place_are_refused(first: str, second: str) -> None:
    with pytest.raises(Rejected) as caught, BuildContextWriter(max_size=100) as writer:
        writer.add(first, "1")
        writer.add(second, "2")
    assert caught.value.code == "INVALID_PATH"


def test_size_and_count_are_bounded() -> None:
    with pytest.raises(Rejected) as caught, BuildContextWriter(max_size=5) as writer:
        writer.add("a", "123")
        writer.add("b", "456")
    assert caught.value.code == "CONTEXT_TOO_LARGE"
    with pytest.raises(Rejected) as caught, BuildContextWriter(max_size=5, max_files=1) as writer:
        writer.add("a", "1")
        writer.add("b", "2")
    assert caught.value.code == "CONTEXT_TOO_LARGE"


def test_a_large_one_is_kept_on_disk_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def spooled() -> bool:
        descriptors = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        return any(str(tmp_path) in str(each.readlink()) for each in descriptors)

    with BuildContextWriter(max_size=1 << 22) as writer:
        writer.add("Dockerfile", b"x" * (1 << 21))
        built = writer.finish()
    assert spooled()
    built.close()
    assert not spooled()
    with pytest.raises(ZeroDivisionError), BuildContextWriter(max_size=1 << 22) as writer:
        writer.add("Dockerfile", b"x" * (1 << 21))
        assert spooled()
        _ = 1 / 0
    assert not spooled()
    assert list(tmp_path.iterdir()) == []
