"""What the author of a failed build is told to do."""

import pytest

from bot_runner_worker.engine.builds import BuildError
from bot_runner_worker.images.build_errors import failed

KILLED = "The command '/bin/sh -c python big.py' returned a non-zero code: 137"


@pytest.mark.parametrize(
    ("message", "out_of_memory", "words"),
    [
        (KILLED, True, "The build ran out of memory"),
        (KILLED, None, "may have run out of memory"),
        (KILLED, False, "no lack of memory"),
        (KILLED.replace("137", "1"), True, "The build ran out of memory"),
        (KILLED.replace("137", "153"), None, "MAX_IMAGE_SIZE"),
        (KILLED.replace("137", "127"), None, "A command was not found"),
        (KILLED.replace("137", "1"), None, "details.log"),
    ],
)
def test_memory_is_blamed_only_if_the_engine_says_so(
    message: str, out_of_memory: bool | None, words: str
) -> None:
    error = failed(BuildError(message, ["said"], out_of_memory=out_of_memory))
    assert (error.code, error.details["log"]) == ("BUILD_FAILED", ["said"])
    assert words in error.hint
