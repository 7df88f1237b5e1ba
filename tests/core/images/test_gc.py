"""Images are kept by use, on the real Engine: those of bots always, others up to a size and an age."""

import base64
import gzip
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import BASE_IMAGE, IDLE_BOT, MakeRunner, RunnerUnderTest
from tests.core.images.building import FROM, Builder
from tests.registry import Registry, build, tar_of

from bot_runner_worker.engine import Engine, containers
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images import gc
from bot_runner_worker.images.disk import EngineDisk
from bot_runner_worker.images.gc import CacheUse
from bot_runner_worker.model.image import Image
from bot_runner_worker.networks.bots import BotNetworks
from bot_runner_worker.plugins.tools import Tools

MIB = 1024 * 1024
Later = Callable[[float], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Set the Engine's clock forward by some hours, as far as the collector sees it."""
    time = Engine.time

    def set_forward(hours: float) -> None:
        async def shifted(self: Engine) -> datetime:
            return await time(self) + timedelta(hours=hours)

        monkeypatch.setattr(Engine, "time", shifted)

    return set_forward


async def ignored(message: str, fraction: float | None) -> None:
    pass


def tools(runner: RunnerUnderTest) -> Tools:
    return Tools(runner.settings, runner.runner.images, "alice", ignored)


async def built(runner: RunnerUnderTest, *, size: int = 0) -> Image:
    """An image of its own that adds so many bytes to the base image."""
    builder = Builder(runner)
    builder.store = runner.runner.images
    files = {"file": os.urandom(size) or uuid4().bytes}
    return await builder.build(FROM + "COPY file /file\n", files)


async def is_there(runner: RunnerUnderTest, image: Image | str) -> bool:
    name = image if isinstance(image, str) else image.id
    return await engine_images.inspect(runner.engine, name) is not None


async def collect(runner: RunnerUnderTest) -> CacheUse:
    return await runner.runner.image_gc.collect()


@pytest.mark.engine
async def test_images_go_when_nobody_has_used_them_for_long(make_runner: MakeRunner, later: Later) -> None:
    runner = await make_runner(image_max_age_hours=24)
    image = await built(runner)
    await runner.runner.images.remember("name", image, tools(runner))
    later(23)
    assert (await collect(runner)).images == 1
    assert await runner.runner.images.recall("name", tools(runner)) is not None
    later(25)
    assert await collect(runner) == CacheUse(0, 0)
    assert not await is_there(runner, image)
    assert await runner.runner.images.recall("name", tools(runner)) is None
    assert await runner.leftovers("images/json") == []


@pytest.mark.engine
async def test_the_image_of_a_bot_stays_whether_it_runs_or_not(make_runner: MakeRunner, later: Later) -> None:
    runner = await make_runner(image_max_age_hours=1, image_cache_size=0)
    project = {"deployment_mode": "custom", "archive": archive_of_a_bot()}
    started = await runner.start(**project)
    assert started.error is None, started.data
    (image,) = await engine_images.list_by_repository(
        runner.engine, "bot-runner/" + runner.settings.runner_namespace
    )
    found = await engine_images.inspect(runner.engine, image["Id"])
    assert found is not None
    await runner.runner.images.remember("name", found, tools(runner))
    other = await built(runner)
    for hours in (0.9, 1000):
        later(hours)
        assert (await collect(runner)).images == 1
        assert not await is_there(runner, other)
    # Nor does it lose any of its names.
    assert await runner.runner.images.recall("name", tools(runner)) is not None
    await runner.task("stop_bot", user_id="alice", bot_id="bot")
    assert (await collect(runner)).images == 1
    assert (await runner.task("restart_bot", user_id="alice", bot_id="bot")).error is None


def archive_of_a_bot() -> str:
    dockerfile = f'FROM {BASE_IMAGE}\nCOPY bot.py /bot.py\nCMD ["python3", "-u", "/bot.py"]\n'
    tar = tar_of({"Dockerfile": dockerfile.encode(), "bot.py": IDLE_BOT.encode()})
    return base64.b64encode(gzip.compress(tar)).decode()


@pytest.mark.slow
async def test_the_least_recently_used_go_first_until_the_rest_fits(
    make_runner: MakeRunner, later: Later
) -> None:
    runner = await make_runner(image_cache_size=5 * MIB)
    images = [await built(runner, size=2 * MIB) for _ in range(4)]
    # The oldest is used again, and it is noted on the Engine for other workers to see.
    await runner.runner.images.close()
    await engine_images.tag(runner.engine, images[0].id, images[0].tags[0])
    later(1)
    use = await collect(runner)
    assert [await is_there(runner, each) for each in images] == [True, False, False, True]
    assert use.images == 2
    assert 4 * MIB <= use.size < 4.1 * MIB


@pytest.mark.slow
async def test_what_was_used_just_now_is_never_removed(make_runner: MakeRunner, later: Later) -> None:
    runner = await make_runner(image_cache_size=0, image_max_age_hours=0)
    image = await built(runner)
    assert (await collect(runner)).images == 1
    later(5 / 60)
    assert (await collect(runner)).images == 1
    later(11 / 60)
    assert (await collect(runner)).images == 0
    assert not await is_there(runner, image)


@pytest.mark.slow
async def test_a_use_is_noted_on_the_engine_though_not_each_time(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await make_runner()
    image = await built(runner)
    store = runner.runner.images
    await store.remember("name", image, tools(runner))

    async def last_use() -> datetime | None:
        await store.usage._renewals.wait()
        return await engine_images.last_tagged(runner.engine, image.id)

    before = await last_use()
    assert await store.recall("name", tools(runner)) is not None
    assert await last_use() == before
    monkeypatch.setattr(gc, "RENEWAL", 0.0)
    assert await store.recall("name", tools(runner)) is not None
    after = await last_use()
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.slow
async def test_the_end_of_a_container_counts_as_a_use(
    make_runner: MakeRunner, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await make_runner(image_max_age_hours=24)
    image = await built(runner)
    await runner.runner.images.close()
    before = await engine_images.last_tagged(runner.engine, image.id)
    name = f"{runner.settings.runner_namespace}-somebodys"
    container = await containers.create(runner.engine, name, {"Image": image.id})
    try:
        later(1000)
        assert (await collect(runner)).images == 1
    finally:
        await containers.remove(runner.engine, container)
    after = await engine_images.last_tagged(runner.engine, image.id)
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.slow
async def test_a_pulled_image_goes_with_its_digest_unless_the_operator_has_named_it(
    make_runner: MakeRunner, registry: Registry, later: Later
) -> None:
    runner = await make_runner(registries_allowed=registry.host)
    pulled, named = [
        await runner.runner.images.pull(
            registry.put_image(f"acme/{uuid4().hex}:1", files={"file": uuid4().bytes}), tools(runner)
        )
        for _ in range(2)
    ]
    name = f"localhost/{runner.settings.runner_namespace}:named"
    await engine_images.tag(runner.engine, named.id, name)
    try:
        later(1000)
        assert await collect(runner) == CacheUse(0, 0)
        assert not await is_there(runner, pulled)
        left = await engine_images.inspect(runner.engine, name)
        assert left is not None
        assert left.tags == (name,)
        assert await is_there(runner, f"{named.reference.rpartition(':1@')[0]}@{named.reference[-71:]}")
    finally:
        await engine_images.remove(runner.engine, named.id, all_tags=True)
    # It is pulled anew when it is wanted again.
    assert (
        await runner.runner.images.pull(pulled.reference.partition("@")[0], tools(runner))
    ).id == pulled.id


@pytest.mark.slow
async def test_a_base_image_stays_while_a_bots_image_is_made_of_it(
    make_runner: MakeRunner, registry: Registry, later: Later
) -> None:
    runner = await make_runner(registries_allowed=registry.host, image_max_age_hours=24)
    builder = Builder(runner)
    builder.store = runner.runner.images
    name = registry.put_image(f"acme/{uuid4().hex}:1", files={"file": uuid4().bytes})
    child = await builder.build(f"FROM {name}\nCOPY bot.py /bot.py\n", {"bot.py": b"pass"})
    somebodys = f"{runner.settings.runner_namespace}-somebodys"
    container = await containers.create(runner.engine, somebodys, {"Image": child.id, "Cmd": ["none"]})
    later(1000)
    assert (await collect(runner)).images == 2
    await containers.remove(runner.engine, container)
    # Being in use was a use, by the Engine's own clock.
    later(1000)
    assert await collect(runner) == CacheUse(0, 0)
    assert await runner.leftovers("images/json") == []


@pytest.mark.slow
async def test_an_image_stays_while_somebody_elses_is_made_of_it(
    make_runner: MakeRunner, registry: Registry, later: Later
) -> None:
    runner = await make_runner(registries_allowed=registry.host)
    name = registry.put_image(f"acme/{uuid4().hex}:1", files={"file": uuid4().bytes})
    pulled = await runner.runner.images.pull(name, tools(runner))
    theirs = f"localhost/{runner.settings.runner_namespace}:theirs"
    await build(runner.engine, theirs, f"FROM {pulled.id}\nCOPY file /another\n", {"file": b"content"})
    later(1000)
    assert (await collect(runner)).images == 1
    # It has not lost a name either: it need not be pulled again.
    await runner.runner.images.pull(name, tools(runner))
    assert runner.runner.images.usage.misses == 1
    await engine_images.remove(runner.engine, theirs)
    later(1000)
    assert await collect(runner) == CacheUse(0, 0)
    assert not await is_there(runner, pulled)


@pytest.mark.slow
async def test_a_full_disk_costs_images_that_would_otherwise_be_kept(
    make_runner: MakeRunner, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await make_runner()
    images = [await built(runner) for _ in range(2)]
    later(1)
    assert (await collect(runner)).images == 2
    frees = iter([0, 2 * runner.settings.min_free_disk])

    async def free(self: EngineDisk) -> int:
        return next(frees)

    monkeypatch.setattr(EngineDisk, "free", free)
    await collect(runner)
    assert [await is_there(runner, each) for each in images] == [False, True]


@pytest.mark.slow
async def test_a_start_whose_image_is_removed_in_the_same_moment_may_be_repeated(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await make_runner()
    project: dict[str, Any] = {"deployment_mode": "custom", "archive": archive_of_a_bot()}
    ensure = BotNetworks.ensure

    async def meanwhile(self: BotNetworks, bot: Any, name: str) -> None:
        for image in await engine_images.list_by_labels(
            runner.engine, {"io.avtomatika.bot-runner.namespace": runner.settings.runner_namespace}
        ):
            await engine_images.remove(runner.engine, image["Id"], all_tags=True)
        await ensure(self, bot, name)

    with monkeypatch.context() as patched:
        patched.setattr(BotNetworks, "ensure", meanwhile)
        failed = await runner.start(**project)
    assert failed.ending == "failure"
    assert failed.error is not None
    assert failed.error["code"] == "ENGINE_FAILED"
    assert (await runner.start(**project)).data["status"] == "started"


@pytest.mark.slow
async def test_hits_and_misses_are_counted(make_runner: MakeRunner, registry: Registry) -> None:
    runner = await make_runner(registries_allowed=registry.host)
    counts = runner.runner.images.usage
    name = registry.put_image(f"acme/{uuid4().hex}:1", files={"file": uuid4().bytes})
    builder = Builder(runner)
    builder.store = runner.runner.images
    for _ in range(2):
        await runner.runner.images.pull(name, tools(runner))
        await builder.build(FROM + f"ENV X={name}\n")
    assert (counts.hits, counts.misses) == (2, 2)
