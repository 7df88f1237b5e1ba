"""What the doctor says about the Engine's disk, and about who keeps bots to their share of it."""

from typing import Any

import pytest
from tests.core.diagnostics.conftest import Look

from bot_runner_worker.diagnostics.checks.engine import disk, disk_limit
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.engine import EngineError, containers

pytestmark = pytest.mark.slow


async def test_a_full_disk_is_pointed_out(look: Look) -> None:
    assert (await disk(await look(min_free_disk=0))).state is State.OK
    assert (await disk(await look(min_free_disk=1 << 60))).state is State.FAILED


async def test_storage_that_cannot_limit_a_bot_leaves_it_to_the_worker(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, create = await look(container_disk_limit="100m"), containers.create

    async def refuse(engine: Any, name: str, config: Any) -> str:
        assert config["HostConfig"]["StorageOpt"]
        raise EngineError(500, "--storage-opt is supported only for overlay over xfs with 'pquota'")

    monkeypatch.setattr(containers, "create", refuse)
    found = await disk_limit(here)
    assert (found.state, found.finding) == (
        State.OK,
        "100 MiB, watched by the worker: this storage cannot enforce it",
    )

    async def accept(engine: Any, name: str, config: Any) -> str:
        host = {name: value for name, value in config["HostConfig"].items() if name != "StorageOpt"}
        return await create(engine, name, config | {"HostConfig": host})

    monkeypatch.setattr(containers, "create", accept)
    found = await disk_limit(here)
    assert (found.state, found.finding) == (State.OK, "100 MiB, enforced by the Engine's storage")


async def test_the_engine_itself_says_whether_it_limits(look: Look) -> None:
    here = await look()
    finding = (await disk_limit(here)).finding
    quotas = dict(here.facts.info["DriverStatus"]).get("Backing Filesystem") == "xfs"
    assert ("watched by the worker" in finding) is not quotas


async def test_without_the_base_image_it_cannot_be_tried(look: Look) -> None:
    found = await disk_limit(await look(base_image="localhost/no-such-image:none"))
    assert found.state is State.WARNING
