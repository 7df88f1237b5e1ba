"""What the doctor says about the Engine: version, limits, storage, security, runtimes."""

from typing import Any

import pytest
from tests.core.diagnostics.conftest import Look, but, with_facts

from bot_runner_worker.diagnostics.checks import engine
from bot_runner_worker.diagnostics.results import State

pytestmark = pytest.mark.slow


async def test_an_engine_that_answers_is_described(look: Look) -> None:
    here = await look()
    found = await engine.version(here)
    assert found.state is State.OK
    assert f"{here.facts.version['Version']}, API {here.facts.version['ApiVersion']}" in found.finding
    assert found.remedy == ""


async def test_an_engine_that_does_not_answer_is_a_failure(look: Look) -> None:
    here = await look(docker_host="unix:///nowhere/docker.sock")
    found = await engine.version(here)
    assert found.state is State.FAILED
    assert "unix:///nowhere/docker.sock" in found.finding
    assert "DOCKER_HOST" in found.remedy


async def test_an_engine_before_20_10_is_a_failure(look: Look) -> None:
    here = await look()
    old = with_facts(here, version=here.facts.version | {"Version": "19.03.9", "ApiVersion": "1.40"})
    found = await engine.version(old)
    assert found.state is State.FAILED
    assert "20.10" in found.remedy


async def test_an_engine_that_was_not_tested_is_pointed_out(look: Look) -> None:
    here = await look()
    version = {"Version": "29.0.0", "ApiVersion": "1.52", "MinAPIVersion": "1.44"}
    found = await engine.version(with_facts(here, version=here.facts.version | version))
    assert found.state is State.OK
    assert "29.0.0, API 1.52 (back to 1.44)" in found.finding
    assert "newer than the Engines that were tested (20.10, 26.1)" in found.finding


async def test_an_engine_with_windows_containers_is_a_failure(look: Look) -> None:
    assert (await engine.version(but(await look(), OSType="windows"))).state is State.FAILED


async def test_limits_that_the_kernel_keeps_are_fine(look: Look) -> None:
    everything = {"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True, "SwapLimit": True}
    assert (await engine.limits(but(await look(), **everything))).state is State.OK


@pytest.mark.parametrize(
    ("name", "state", "word"),
    [
        ("MemoryLimit", State.FAILED, "memory"),
        ("CpuCfsQuota", State.FAILED, "CPU"),
        ("PidsLimit", State.FAILED, "processes"),
        ("SwapLimit", State.WARNING, "swap"),
    ],
)
async def test_a_limit_that_the_kernel_does_not_keep_is_named(
    look: Look, name: str, state: State, word: str
) -> None:
    found = await engine.limits(but(await look(), **{name: False}))
    assert found.state is state
    assert f"does not limit {word}" in found.finding
    assert found.remedy


async def test_the_storage_of_the_tests_is_fine(look: Look) -> None:
    found = await engine.storage(await look())
    assert (found.state, found.finding.split()[0]) == (State.OK, "overlay2")


@pytest.mark.parametrize(
    ("info", "word"),
    [
        (
            {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]},
            "containerd's image store",
        ),
        ({"Driver": "vfs", "DriverStatus": None}, "copies the whole image"),
        ({"Driver": "btrfs", "DriverStatus": []}, "tested with overlay2 only"),
    ],
)
async def test_other_storage_is_pointed_out(look: Look, info: dict[str, Any], word: str) -> None:
    found = await engine.storage(but(await look(), **info))
    assert found.state is State.WARNING
    assert word in found.finding
    assert found.remedy


async def test_what_would_be_safer_is_a_hint(look: Look) -> None:
    options = ["name=seccomp,profile=default"]
    here = await look()
    found = await engine.security(but(here, SecurityOptions=options, LiveRestoreEnabled=False, Warnings=None))
    assert found.state is State.OK
    assert "no userns-remap" in found.finding
    assert "live-restore" in found.remedy

    options = [*options, "name=userns", "name=apparmor"]
    found = await engine.security(but(here, SecurityOptions=options, LiveRestoreEnabled=True, Warnings=None))
    assert (found.state, found.remedy) == (State.OK, "")
    assert found.finding == "seccomp, apparmor, userns-remap, live-restore"


@pytest.mark.parametrize(
    ("info", "word"),
    [
        ({"SecurityOptions": ["name=apparmor"]}, "every system call"),
        ({"SecurityOptions": ["name=seccomp,profile=unconfined"]}, "every system call"),
        (
            {"Warnings": ["WARNING: API is accessible on http://0.0.0.0:2375 without encryption."]},
            "open to the network",
        ),
    ],
)
async def test_what_is_unsafe_is_pointed_out(look: Look, info: dict[str, Any], word: str) -> None:
    found = await engine.security(but(await look(container_seccomp="engine"), **info))
    assert found.state is State.WARNING
    assert word in found.finding


async def test_our_own_profile_takes_an_engine_with_seccomp(look: Look) -> None:
    here = await look()
    found = await engine.security(but(here, SecurityOptions=["name=apparmor"]))
    assert found.state is State.FAILED
    assert "cannot apply CONTAINER_SECCOMP=strict: no bot starts" in found.finding
    assert "set CONTAINER_SECCOMP to engine" in found.remedy
    # Without a profile of its own, it applies ours all the same.
    for options in (["name=seccomp,profile=unconfined"], ["name=seccomp,profile=builtin"], ["name=seccomp"]):
        found = await engine.security(but(here, SecurityOptions=options, Warnings=None))
        assert found.state is State.OK, found


async def test_the_runtime_of_bots_has_to_be_known_to_the_engine(look: Look) -> None:
    assert (await engine.runtime(await look())).state is State.OK
    assert (await engine.runtime(await look(container_runtime="runc"))).state is State.OK
    found = await engine.runtime(await look(container_runtime="no-such-runtime"))
    assert found.state is State.FAILED
    assert "knows no no-such-runtime, but" in found.finding
    assert "runc" in found.finding
    assert "CONTAINER_RUNTIME" in found.remedy
