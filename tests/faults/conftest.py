"""What several modules of the suite share."""

from collections.abc import AsyncIterator

import pytest
from tests.conftest import ENGINE

from bot_runner_worker.engine import Engine


@pytest.fixture(scope="module")
async def engine() -> AsyncIterator[Engine]:
    """The machine's Engine."""
    async with Engine(ENGINE) as connected:
        yield connected
