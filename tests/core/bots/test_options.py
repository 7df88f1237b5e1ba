"""Files for a container: paths cannot leave their folder or hide each other."""

import pytest

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.options import Files


def test_paths_are_put_in_normal_form() -> None:
    files = Files.of("/app", {"./a//b.py": "1"}, max_size=10)
    assert files.content == {"a/b.py": b"1"}


@pytest.mark.parametrize(
    "paths", [["../x"], ["/x"], ["a", "./a"], ["a", "A"], ["a", "a/b"], ["a/b/c", "a/b"]]
)
def test_paths_that_are_refused(paths: list[str]) -> None:
    with pytest.raises(Rejected) as caught:
        Files.of("/app", dict.fromkeys(paths, "x"), max_size=100)
    assert caught.value.code == "INVALID_PATH"


def test_size_is_bounded() -> None:
    with pytest.raises(Rejected) as caught:
        Files.of("/app", {"a": "12345"}, max_size=4)
    assert caught.value.code == "CONTEXT_TOO_LARGE"


def test_the_digest_tells_contents_places_and_owners_apart() -> None:
    same = Files.of("/app", {"b": "2", "a": "1"}, max_size=10)
    one = Files.of("/app", {"a": "1", "b": "2"}, max_size=10)
    assert one.digest() == same.digest()
    others = [
        Files.of("/app", {"a": "1", "b": "3"}, max_size=10),
        Files.of("/srv", {"a": "1", "b": "2"}, max_size=10),
        Files.of("/app", {"a": "1", "b": "2"}, owner=5, max_size=10),
    ]
    assert one.digest() not in {each.digest() for each in others}
