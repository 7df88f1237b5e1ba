"""Mode ``image`` on a real registry: what runs, who may use it, and what is said when it cannot."""

import asyncio
import os
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import BASE_IMAGE, IDLE_BOT, MakeRunner, RunnerUnderTest
from tests.registry import PASSWORD, USERNAME, Registry, build

from bot_runner_worker.engine import registries
from bot_runner_worker.tasks.outcome import Outcome
from bot_runner_worker.testing.waiting import stays

BOT = f'FROM {BASE_IMAGE}\nCOPY bot.py /bot.py\nCMD ["python3", "-u", "/bot.py"]\n'
FILES = {"bot.py": IDLE_BOT.encode()}
AUTH = {"username": USERNAME, "password": PASSWORD}


async def start(runner: RunnerUnderTest, image: Any, **params: Any) -> Outcome:
    return await runner.start(deployment_mode="image", docker_image=image, **params)


async def code_of(runner: RunnerUnderTest, image: Any, **params: Any) -> str:
    outcome = await start(runner, image, **params)
    assert outcome.error is not None, outcome.data
    return str(outcome.error["code"])


async def inspect(runner: RunnerUnderTest, kind: str, name: str) -> Any:
    return await runner.engine.json("GET", f"{kind}/{name}/json")


async def images_of(runner: RunnerUnderTest, reference: str) -> list[str]:
    """Ids of the images that were pulled from this repository and are still there."""
    prefix = reference.rpartition(":")[0] + "@"
    found = await runner.engine.json("GET", "images/json")
    return [
        each["Id"] for each in found if any(name.startswith(prefix) for name in each["RepoDigests"] or [])
    ]


@pytest.mark.slow
async def test_an_image_runs_and_the_result_names_its_digest(
    make_runner: MakeRunner, registry: Registry
) -> None:
    runner = await make_runner(registries_allowed=registry.host)
    reference = await registry.push(runner.engine, "acme/bot:1", BOT, FILES)
    said: list[str] = []

    async def report(_fraction: float, message: str) -> None:
        said.append(message)

    params = {"user_id": "alice", "bot_id": "bot", "deployment_mode": "image", "docker_image": reference}
    outcome = await runner.runner.run_task("start_bot", params, report)
    assert outcome.error is None, outcome.data
    assert outcome.data["mode"] == "image"
    assert outcome.data["image"].startswith(f"{reference}@sha256:")
    assert any(registry.host in message for message in said)
    container = await inspect(runner, "containers", outcome.data["container_id"])
    image = await inspect(runner, "images", container["Image"])
    assert container["Config"]["Image"] == image["Id"], "run by its id, whatever its name comes to mean"
    assert image["RepoDigests"] == [outcome.data["image"].replace(":1@", "@")]

    await runner.runner.runtime.remove_all()
    assert not await images_of(runner, reference)


@pytest.mark.engine
async def test_a_private_image_runs_with_its_password_only(
    runner: RunnerUnderTest, private_registry: Registry
) -> None:
    reference = await private_registry.push(runner.engine, "acme/private:1", BOT, FILES)
    assert await code_of(runner, reference) == "IMAGE_ACCESS_DENIED"
    wrong = {"username": USERNAME, "password": "sentinel-wrong-password"}
    outcome = await start(runner, reference, registry_auth=wrong)
    assert outcome.error is not None
    assert outcome.error["code"] == "REGISTRY_AUTH_FAILED"
    assert "sentinel" not in str(outcome.data)

    outcome = await start(runner, reference, registry_auth=AUTH)
    assert outcome.error is None, outcome.data
    image_id = (await inspect(runner, "containers", outcome.data["container_id"]))["Image"]

    # The image is on the Engine now, by name, by digest and by id: none of them opens it to another tenant.
    digest = outcome.data["image"].partition("@")[2]
    pinned = f"{reference.rpartition(':')[0]}@{digest}"
    for name in (reference, pinned):
        assert await code_of(runner, name, user_id="mallory") == "IMAGE_ACCESS_DENIED"
        assert await code_of(runner, name, user_id="mallory", registry_auth=wrong) == "REGISTRY_AUTH_FAILED"
    for name in (image_id, image_id.removeprefix("sha256:")):
        assert await code_of(runner, name, user_id="mallory") == "INVALID_IMAGE_NAME"
    own_tags = (await inspect(runner, "images", image_id))["RepoTags"]
    assert own_tags
    for name in own_tags:
        assert await code_of(runner, name, user_id="mallory") == "INVALID_IMAGE_NAME"


@pytest.mark.slow
async def test_a_tag_is_resolved_anew_and_an_unchanged_image_is_not_pulled_again(
    runner: RunnerUnderTest, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled: list[str] = []
    real = registries.pull

    async def counted(engine: Any, repository: str, version: str, **options: Any) -> None:
        pulled.append(version)
        await real(engine, repository, version, **options)

    monkeypatch.setattr(registries, "pull", counted)
    reference = await registry.push(runner.engine, "acme/moving:latest", BOT, FILES)
    first = await start(runner, reference.removesuffix(":latest"))
    assert first.error is None, first.data
    again = await start(runner, reference, replace=True)
    assert again.data["status"] == "already_running"
    assert len(pulled) == 1
    assert pulled[0].startswith("sha256:"), "by digest: the tag may move between two questions"

    changed = {"bot.py": IDLE_BOT.encode() + b"# changed\n"}
    await registry.push(runner.engine, "acme/moving:latest", BOT, changed)
    replaced = await start(runner, reference, replace=True)
    assert replaced.data["replaced"] is True
    assert replaced.data["image"] != first.data["image"]
    assert len(pulled) == 2


@pytest.mark.slow
async def test_a_pull_ends_as_soon_as_it_is_known_to_be_too_large(
    runner: RunnerUnderTest,
    registry: Registry,
    make_runner: MakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the whole image was pulled")

    monkeypatch.setattr("bot_runner_worker.images.pull.check_image", never)
    large = registry.put_image("acme/large:1", files={"data": os.urandom(20_000_000)})
    small = await make_runner(registries_allowed=registry.host, max_image_size="16m")
    assert await code_of(small, large) == "IMAGE_TOO_LARGE"
    assert not await images_of(runner, large)


@pytest.mark.slow
async def test_an_image_that_turns_out_too_large_is_removed(
    runner: RunnerUnderTest, registry: Registry, make_runner: MakeRunner
) -> None:
    bomb = registry.put_image("acme/bomb:1", files={"data": bytes(40_000_000)})
    small = await make_runner(registries_allowed=registry.host, max_image_size="16m")
    assert await code_of(small, bomb) == "IMAGE_TOO_LARGE"
    assert not await images_of(runner, bomb)


@pytest.mark.slow
async def test_an_image_for_another_platform_is_refused_before_it_is_pulled(
    runner: RunnerUnderTest, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> None:
        raise AssertionError("it was pulled")

    monkeypatch.setattr(registries, "pull", never)
    reference = registry.put_image("acme/foreign:1", architecture="s390x")
    outcome = await start(runner, reference)
    assert outcome.error is not None
    assert outcome.error["code"] == "PLATFORM_MISMATCH"
    assert outcome.error["details"]["offered"] == ["linux/s390x"]


@pytest.mark.slow
async def test_local_images_are_used_only_where_the_operator_says_so(
    runner: RunnerUnderTest, make_runner: MakeRunner
) -> None:
    company = f"company-{uuid4().hex[:12]}.example"
    local = f"{company}/offered:1"
    await build(runner.engine, local, BOT, FILES)
    try:
        assert await code_of(runner, local) == "REGISTRY_DENIED"
        offering = await make_runner(local_images_allowed=f"{company}/*")
        outcome = await start(offering, local)
        assert outcome.error is None, outcome.data
        assert outcome.data["image"] == local
        assert await code_of(offering, "other.example/bot", bot_id="other") == "REGISTRY_DENIED"
    finally:
        await runner.engine.json("DELETE", f"images/{local}", params={"force": True})


@pytest.mark.slow
async def test_what_an_image_says_about_itself_changes_nothing_for_the_runner(
    runner: RunnerUnderTest, registry: Registry
) -> None:
    prefix = "io.avtomatika.bot-runner."
    dockerfile = BOT + (
        f"LABEL {prefix}user-id=victim {prefix}expires-at=2099-01-01T00:00:00Z {prefix}spare=x other=kept\n"
        "VOLUME /data\nHEALTHCHECK --interval=1s CMD touch /data/checked\nSTOPSIGNAL SIGKILL\nUSER root\n"
        "EXPOSE 22\nONBUILD RUN true\n"
    )
    reference = await registry.push(runner.engine, "acme/bold:1", dockerfile, FILES)
    outcome = await start(runner, reference)
    assert outcome.error is None, outcome.data
    container = await inspect(runner, "containers", outcome.data["container_id"])
    labels, host = container["Config"]["Labels"], container["HostConfig"]
    assert labels[f"{prefix}user-id"] == "alice"
    assert labels[f"{prefix}expires-at"] == outcome.data["expires_at"]
    assert labels[f"{prefix}spare"] == ""
    assert labels["other"] == "kept"
    [mount] = host["Mounts"]
    assert [each["Destination"] for each in container["Mounts"]] == [mount["Target"]] == ["/data"]
    limited = mount["VolumeOptions"]["DriverConfig"]["Options"]
    assert (limited["type"], limited["o"].split(",")[0]) == ("tmpfs", "size=67108864")
    assert container["Config"]["Healthcheck"]["Test"] == ["NONE"]
    assert container["Config"]["StopSignal"] == "SIGTERM"
    assert host["CapDrop"] == ["ALL"]
    assert not host["PortBindings"]
    assert host["PidsLimit"] == runner.settings.container_pids_limit
    assert (await runner.task("list_bots", user_id="victim")).data["count"] == 0


@pytest.mark.slow
async def test_a_cancelled_pull_ends_and_leaves_nothing(
    runner: RunnerUnderTest, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "_REPORT_INTERVAL", 0)
    reference = registry.put_image("acme/slow:1", files={"data": os.urandom(30_000_000)})
    pulling = asyncio.Event()

    async def report(_fraction: float, message: str) -> None:
        if "pulled" in message:
            pulling.set()

    params = {"user_id": "alice", "bot_id": "bot", "deployment_mode": "image", "docker_image": reference}
    task = asyncio.create_task(runner.runner.run_task("start_bot", params, report))
    await pulling.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def is_not_there() -> bool:
        return not await images_of(runner, reference)

    await stays(is_not_there, during=1.5)
