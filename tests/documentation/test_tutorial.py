"""The tutorial works, as a new author does it: in an empty folder, with nothing but the built wheels."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conftest import BASE_IMAGE, ENGINE
from tests.documentation.tutorial import Author, blocks
from tests.wheelhouse import build_wheels

pytestmark = pytest.mark.images


@pytest.fixture
def settings() -> Iterator[dict[str, str]]:
    """Settings of a worker of the author's own; all that it makes is removed."""
    name = f"test-{uuid4().hex[:12]}"
    own = {
        "DOCKER_HOST": ENGINE,
        "BASE_IMAGE": BASE_IMAGE,
        "RUNNER_NAMESPACE": name,
        "DOCKER_NETWORK": f"{name}-net",
        "ISOLATION_PROBE": "off",
        "STOP_GRACE_SECONDS": "1",
    }
    yield own
    command = [str(Path(sys.executable).parent / "bot-runner-worker"), "remove-all", "--yes"]
    subprocess.run(command, env=os.environ | own, check=True, capture_output=True, timeout=120)


def test_everything_but_the_workers_image(tmp_path: Path, settings: dict[str, str]) -> None:
    """What is done with the image, tests/images tries."""
    build_wheels(tmp_path / "wheels")
    (tmp_path / "empty").mkdir()
    todo = blocks()
    image = next(number for number, block in enumerate(todo) if block.language == "dockerfile")
    # Its Dockerfile, the commands that build and run it, and what they show.
    del todo[image : image + 3]
    Author(tmp_path / "empty", tmp_path / "wheels", settings, {}).do(todo)
