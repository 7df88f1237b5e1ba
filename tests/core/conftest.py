"""Fixtures of the core's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.core.plugin_factory import PluginFolder, importable


@pytest.fixture
def plugin_folder(tmp_path: Path) -> Iterator[PluginFolder]:
    """An empty folder of plugins."""
    with importable(tmp_path) as folder:
        yield folder
