"""Trees for the tests of ``bot_runner_worker.projects``."""

import io
from collections.abc import Mapping

from bot_runner_worker.projects import Deadline, ProjectTree, ProjectTreeWriter, TreeCodes


def deadline(seconds: float = 30.0) -> Deadline:
    """A deadline that is far away."""
    return Deadline(seconds, code="TOO_SLOW", message="It took too long.")


def writer(max_size: int = 1 << 20, max_files: int = 100) -> ProjectTreeWriter:
    """A writer with small limits and codes of its own."""
    codes = TreeCodes(invalid="BROKEN", unsafe="UNSAFE", too_large="LARGE")
    return ProjectTreeWriter(max_size=max_size, max_files=max_files, codes=codes, deadline=deadline())


def tree_of(files: Mapping[str, str]) -> ProjectTree:
    """A tree of text files."""
    with writer() as collecting:
        for path, text in files.items():
            collecting.add(path, io.BytesIO(text.encode()), len(text.encode()))
        return collecting.finish()
