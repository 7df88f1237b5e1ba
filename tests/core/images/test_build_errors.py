"""What the author of a failed build is told to do."""

import pytest

from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images.build_errors import failed


@pytest.mark.parametrize(
    ("exit_code", "out_of_memory", "words"),
    [
        (137, True, "The build ran out of memory"),
        (137, False, "not for lack of memory"),
        (1, True, "The build ran out of memory"),
        (153, False, "MAX_IMAGE_SIZE"),
        (127, False, "A command was not found"),
        (1, False, "details.log"),
    ],
)
def test_memory_is_blamed_only_if_the_engine_says_so(exit_code: int, out_of_memory: bool, words: str) -> None:
    error = failed(BuildError("no", ["said"], exit_code=exit_code, out_of_memory=out_of_memory))
    assert (error.code, error.details["log"]) == ("BUILD_FAILED", ["said"])
    assert words in error.hint


def test_sudo_is_explained() -> None:
    said = 'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.'
    assert "USER root" in failed(BuildError("no", [said], exit_code=1)).hint
