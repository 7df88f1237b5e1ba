"""The installed SDK is the one that this package was written for, down to its private names."""

from pathlib import Path

import pytest
from tests.seams import problem_with, unlisted

from bot_runner_worker import worker
from bot_runner_worker.worker.seams import SEAMS, Seam

PACKAGE = Path(worker.__file__).parent


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_each_private_name_is_as_it_was(seam: Seam) -> None:
    assert problem_with(seam) is None
    assert seam.name in (PACKAGE / f"{seam.used_in}.py").read_text()


def test_no_other_private_name_is_used() -> None:
    assert unlisted(PACKAGE, SEAMS) == set()


def test_what_is_missing_is_noticed() -> None:
    table = tuple(seam for seam in SEAMS if seam.name != "_start_polling")
    assert unlisted(PACKAGE, table) == {"_start_polling"}
