"""The wheels that these tests install."""

from pathlib import Path

import pytest
from tests.wheelhouse import build_wheels


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All distributions' wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    build_wheels(folder)
    return folder
