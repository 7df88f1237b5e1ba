"""A tenant whose share of the builds is taken keeps nobody else waiting, whatever image it waits for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot_runner_worker.engine import Engine
from bot_runner_worker.engine import images as engine_images
from bot_runner_worker.images.store import ImageStore
from bot_runner_worker.model.image import Image
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.testing.memory_runner import memory_settings
from bot_runner_worker.testing.waiting import SCALE, until

BASE = Image("sha256:base", "base")


class Store:
    """The image store, whose Engine and installer are replaced.

    Args:
        store: The store.
    """

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self.images: dict[str, Image] = {}
        self.installed: list[str] = []

    async def inspect(self, _: Engine, reference: str) -> Image | None:
        await asyncio.sleep(0)
        return self.images.get(reference)

    async def install(self, base: Image, wanted: list[str], reference: str, *_: Any) -> bool:
        self.installed.append(reference)
        await asyncio.sleep(0.01)
        self.images[reference] = Image(f"sha256:{reference}", reference)
        return True

    async def image_for(self, tenant: str) -> Image:
        """The image that a tenant's start asks for."""

        async def report(message: str, fraction: float | None) -> None:
            """Nobody reads it."""

        settings = memory_settings()
        return await self.store.with_packages(["aiogram"], Tools(settings, self.store, tenant, report))


@pytest.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store with four builds at once, two of them for one tenant."""
    async with Engine("unix:///no-such.sock") as engine:
        made = Store(ImageStore(engine, memory_settings(max_concurrent_builds=4)))

        async def base() -> Image:
            return BASE

        monkeypatch.setattr(made.store, "base", base)
        monkeypatch.setattr(engine_images, "inspect", made.inspect)
        monkeypatch.setattr(made.store.packages, "install", made.install)
        yield made


async def test_the_image_that_a_greedy_tenant_waits_for_is_made_by_the_next(made: Store) -> None:
    builds = made.store._builds
    async with builds.turn("greedy"), builds.turn("greedy"):
        greedy = asyncio.create_task(made.image_for("greedy"))
        await until(lambda: builds.waiting == 1, 30, "the greedy tenant waits for its share")
        async with asyncio.timeout(5 * SCALE):
            modest = await made.image_for("modest")
        assert not greedy.done()
    assert await greedy == modest
    assert len(made.installed) == 1


async def test_many_who_want_the_same_at_once_have_it_made_once(made: Store) -> None:
    images = await asyncio.gather(*(made.image_for(f"tenant-{number % 3}") for number in range(12)))
    assert len({image.id for image in images}) == 1
    assert len(made.installed) == 1
