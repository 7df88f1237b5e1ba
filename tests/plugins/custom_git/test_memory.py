"""A large build context passes through the worker without filling its memory."""

import os

import pytest
from tests.conftest import BASE_IMAGE
from tests.corpus.servers import Servers
from tests.plugins.probing import ALLOWED_GROWTH, CONTEXT_SIZE, MIB, growth_of_a_start

pytestmark = pytest.mark.slow

_FILES = 25


async def test_a_context_of_200_mb_that_is_fetched(servers: Servers) -> None:
    repository = servers.repository("large.git")
    # Noise cannot be packed any smaller, only slowly.
    repository.git("config", "core.compression", "0")
    repository.git("config", "core.bigFileThreshold", "1m")
    files = {f"data/{number}": os.urandom(CONTEXT_SIZE // _FILES) for number in range(_FILES)}
    dockerfile = f'FROM {BASE_IMAGE}\nCOPY data /data\nCMD ["sleep", "60"]\n'
    repository.commit_files({"Dockerfile": dockerfile, **files})
    grown = await growth_of_a_start(git_repo=servers.git.url("/large.git"))
    print(f"200 MiB fetched: the worker grew by {grown / MIB:.1f} MiB")
    assert grown < ALLOWED_GROWTH
