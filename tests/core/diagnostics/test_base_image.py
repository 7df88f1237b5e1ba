"""What the doctor says about the base image, having started it."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.conftest import BASE_IMAGE, MakeRunner
from tests.core.diagnostics.conftest import Look, with_facts
from tests.core.images.building import FROM, Builder

from bot_runner_worker.diagnostics.checks.images import base_image
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.engine import images

pytestmark = pytest.mark.slow


@pytest.fixture
async def builder(make_runner: MakeRunner) -> AsyncIterator[Builder]:
    """Builds other base images; they are removed with their namespace."""
    builder = Builder(await make_runner())
    yield builder
    await builder.store.close()


async def test_the_base_image_is_asked_for_python_and_pip(look: Look) -> None:
    here = await look()
    found = await base_image(here)
    assert found.state is State.OK, found
    image = await images.inspect(here.engine, BASE_IMAGE)
    assert image is not None
    assert f"{BASE_IMAGE} ({image.id[7:19]}), Python 3." in found.finding
    assert ", pip " in found.finding


async def test_it_is_started_with_the_runtime_of_bots(look: Look) -> None:
    """One that the Engine does not know stands for one that does not work."""
    assert (await base_image(await look(container_runtime="runc"))).state is State.OK
    found = await base_image(await look(container_runtime="no-such-runtime"))
    assert found.state is State.FAILED
    assert "no-such-runtime" in found.finding


async def test_one_that_is_not_there_is_pointed_out(look: Look) -> None:
    found = await base_image(await look(base_image="localhost/no-such-image:none"))
    assert found.state is State.WARNING
    assert found.remedy.endswith("docker pull localhost/no-such-image:none")


async def test_one_for_another_platform_is_a_failure(look: Look) -> None:
    here = await look()
    image = here.facts.base_image
    assert image is not None
    other = with_facts(here, base_image=replace(image, platform="linux/s390x"))
    found = await base_image(other)
    assert found.state is State.FAILED
    assert "is for linux/s390x" in found.finding


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("import pip, shutil, os; shutil.rmtree(os.path.dirname(pip.__file__))", "without pip"),
        (
            "import sysconfig; open(sysconfig.get_path('stdlib') + '/EXTERNALLY-MANAGED', 'w')",
            "EXTERNALLY-MANAGED",
        ),
        (
            "import os, shutil; [os.remove(path) for _ in range(9) if (path := shutil.which('python'))]",
            "does not run Python",
        ),
    ],
)
async def test_one_that_bots_cannot_use_is_a_failure(
    look: Look, builder: Builder, change: str, told: str
) -> None:
    image = await builder.build(f"{FROM}RUN {json.dumps(['python3', '-c', change])}\n")
    found = await base_image(await look(base_image=image.reference))
    assert found.state is State.FAILED
    assert told in found.finding
    assert found.remedy
